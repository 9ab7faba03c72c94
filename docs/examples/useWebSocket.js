// The React hook of the protocol's document. Only the address is new: it was written into the hook.
import { useEffect, useState } from 'react';
import io from 'socket.io-client';

export function useWebSocket(sessionId, url = 'http://localhost:5000') {
  const [socket, setSocket] = useState(null);
  const [connected, setConnected] = useState(false);
  const [activeClients, setActiveClients] = useState(0);

  useEffect(() => {
    // Connect to server
    const newSocket = io(url);

    newSocket.on('connect', () => {
      console.log('Connected');
      setConnected(true);

      // Join session
      if (sessionId) {
        newSocket.emit('join_session', { session_id: sessionId });
      }
    });

    newSocket.on('disconnect', () => {
      console.log('Disconnected');
      setConnected(false);
    });

    newSocket.on('joined', (data) => {
      console.log('Joined session:', data);
      setActiveClients(data.active_clients);
    });

    // Graph events
    newSocket.on('node-created', (data) => {
      console.log('Node created:', data);
      // Update your state management (Redux, Zustand, etc.)
    });

    newSocket.on('property-changed', (data) => {
      console.log('Property changed:', data);
      // Update your state management
    });

    setSocket(newSocket);

    // Cleanup
    return () => {
      if (sessionId) {
        newSocket.emit('leave_session', { session_id: sessionId });
      }
      newSocket.close();
    };
  }, [sessionId, url]);

  return { socket, connected, activeClients };
}
