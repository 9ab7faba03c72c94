// Stock socket.io clients, driven by the tests over standard input and output.
//
// One process holds any number of sockets, each under a name that the driver
// chose. Every line is one JSON document.
//
//   in:  {op: "open", client, url, options}            a socket of its own, never shared
//        {op: "emit", client, calls: [{event, args, ack}]}   all in one tick; ack: a number or null
//        {op: "close", client}                         goodbye, then the connection ends
//        {op: "cut", client}                           the TCP connection dies without a goodbye
//   out: {client, heard: name, args}                   events, `connect`, `disconnect`, `connect_error`
//        {client, ack, args}                           acknowledgements, in their place among the events
//        {client, done: op}

import { Agent } from "node:http";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();
const agents = new Map(); // no keep-alive, as without one; here because `cut` needs their connections

function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

function open({ client, url, options }) {
  const agent = new Agent({ keepAlive: false });
  agents.set(client, agent);
  const socket = io(url, { forceNew: true, reconnection: false, agent, ...options });
  sockets.set(client, socket);
  const hear = (heard, args) => {
    if (sockets.get(client) === socket) say({ client, heard, args });
  };
  socket.on("connect", () => hear("connect", [socket.id]));
  socket.on("disconnect", (reason) => hear("disconnect", [reason]));
  socket.on("connect_error", (error) => hear("connect_error", [{ message: error.message, data: error.data ?? null }]));
  socket.io.on("reconnect", (attempt) => hear("reconnect", [attempt]));
  socket.io.engine?.on("upgrade", (transport) => hear("upgrade", [transport.name]));
  socket.onAny((event, ...args) => hear(event, args));
}

function emit({ client, calls }) {
  const socket = sockets.get(client);
  if (!socket) return;
  for (const { event, args, ack } of calls) {
    if (ack === null || ack === undefined) socket.emit(event, ...args);
    else socket.emit(event, ...args, (...answer) => say({ client, ack, args: answer }));
  }
}

function cut({ client }) {
  const socket = sockets.get(client);
  const engine = socket?.io.engine;
  sockets.delete(client); // from here on nothing of it is heard
  socket?.io.reconnection(false);
  if (!engine) return;
  engine.transport.write = () => {};
  engine.transport.doPoll = () => {};
  engine.transport.ws?._socket?.destroy();
  agents.get(client).destroy();
}

const operations = {
  open,
  emit,
  cut,
  close({ client }) {
    sockets.get(client)?.close();
    sockets.delete(client);
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  operations[order.op](order);
  if (order.op !== "emit") say({ client: order.client, done: order.op });
}).on("close", () => process.exit(0));

say({ ready: process.version });
