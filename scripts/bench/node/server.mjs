// The reference: socket.io 4 on Node, with node:sqlite (WAL, synchronous=FULL), doing the benchmark's job.
//
//   node server.mjs PORT DATABASE
//
// One commit for each command, then `io.to(room).emit` of its events, as one writes it with this library. What
// https://socket.io/docs/v4/performance-tuning/ recommends is done: bufferutil is installed, and the initial
// request of a connection is let go.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { Server } from 'socket.io';

const [port, database] = process.argv.slice(2);
const epoch = randomUUID();
const sessions = new Map(); // id -> { id, version, clients, nodes }

const disk = new DatabaseSync(database);
disk.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE commits (session_id TEXT, version INTEGER, command_id TEXT, command_type TEXT, actor TEXT,
                        time_ms INTEGER, data TEXT, PRIMARY KEY (session_id, version)) WITHOUT ROWID;
  CREATE TABLE nodes (session_id TEXT, node_id TEXT, parent_id TEXT, type TEXT, properties TEXT,
                      PRIMARY KEY (session_id, node_id)) WITHOUT ROWID;
`);
const begin = disk.prepare('BEGIN IMMEDIATE');
const end = disk.prepare('COMMIT');
const insertCommit = disk.prepare('INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?)');
const putNode = disk.prepare('INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?)');

class Refused extends Error {}

const now = () => `${new Date().toISOString().slice(0, 19)}Z`;

function sessionOf(call) {
  const session = sessions.get(call?.session_id);
  if (!session) throw new Refused('INVALID_SESSION');
  return session;
}

// The event, the node as it will be, and what the event says.
function decide(session, type, data) {
  if (type === 'CreateNode') {
    const node = {
      id: data.node_id ?? randomUUID(),
      blueprint_type_id: data.blueprint_type_id,
      parent_id: data.parent_id ?? null,
      name: data.name ?? '',
      properties: data.properties ?? {},
      children: [],
    };
    return { name: 'node-created', node, more: { node } };
  }
  if (type !== 'UpdateProperty') throw new Refused('INVALID_COMMAND');
  const known = session.nodes.get(data.node_id);
  if (!known) throw new Refused('NODE_NOT_FOUND');
  const { node_id, property_id, value } = data;
  return {
    name: 'property-changed',
    node: { ...known, properties: { ...known.properties, [property_id]: value } },
    more: { node_id, property_id, old_value: known.properties[property_id] ?? null, new_value: value },
  };
}

function commit(session, commandId, type, data, facts) {
  begin.run();
  insertCommit.run(
    session.id, session.version + 1, commandId, type, 'anonymous', Date.now(), JSON.stringify(data),
  );
  for (const { node } of facts) {
    putNode.run(session.id, node.id, node.parent_id, node.blueprint_type_id, JSON.stringify(node.properties));
  }
  end.run();
}

function execute({ command_type, data, command_id = randomUUID(), ...call }) {
  const session = sessionOf(call);
  const steps = command_type === 'Batch' ? data.commands : [{ command_type, data }];
  const facts = steps.map((step) => decide(session, step.command_type, step.data));
  commit(session, command_id, command_type, data, facts);
  const timestamp = now();
  const room = io.to(session.id);
  const emit = (event, more) => {
    const { id: session_id, version } = session;
    room.emit(event, { event, session_id, timestamp, version, command_id, actor: 'anonymous', ...more });
  };
  emit('command:executing', { command_type });
  session.version += 1;
  for (const { name, node, more } of facts) {
    session.nodes.set(node.id, node);
    emit(name, more);
  }
  emit('command:executed', { command_type, result: {} });
  return {
    success: true,
    command_id,
    command_type,
    version: session.version,
    result: {},
    undo_available: true,
    redo_available: false,
  };
}

function rest(request, call) {
  if (request.method === 'POST' && request.url === '/api/v1/sessions') {
    const session = { id: randomUUID(), version: 0, clients: new Set(), nodes: new Map() };
    sessions.set(session.id, session);
    return [201, { session_id: session.id, version: 0, epoch, created_at: now() }];
  }
  if (request.method === 'POST' && request.url === '/api/v1/commands/execute') return [200, execute(call)];
  throw new Refused('NOT_FOUND');
}

const answerOf = (error) => {
  if (!(error instanceof Refused)) throw error;
  return { error: { code: error.message, message: 'Refused' } };
};

const http = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    let answer;
    try {
      answer = rest(request, JSON.parse(Buffer.concat(chunks)));
    } catch (error) {
      answer = [400, answerOf(error)];
    }
    const body = JSON.stringify(answer[1]);
    response.writeHead(answer[0], {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  });
});

const io = new Server(http);
io.engine.on('connection', (connection) => {
  connection.request = null;
});
io.on('connection', (socket) => {
  socket.on('join_session', (call, acknowledge) => {
    const session = sessionOf(call);
    socket.join(session.id);
    session.clients.add(socket.id);
    const joined = {
      session_id: session.id,
      client_id: socket.id,
      active_clients: session.clients.size,
      version: session.version,
      epoch,
      resume: 'live',
      created: false,
      clients: [],
    };
    socket.emit('joined', joined);
    acknowledge?.(joined);
  });
  socket.on('execute_command', (call, acknowledge) => {
    let answer;
    try {
      answer = execute(call);
    } catch (error) {
      answer = answerOf(error);
    }
    acknowledge?.(answer);
  });
});

// 1,024: the others listen with as long a queue of connections that are not accepted yet
http.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(`node listening on http://127.0.0.1:${http.address().port}`);
});
