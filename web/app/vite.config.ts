/**
 * Build and development server. `vite` proxies the API and the document sockets to a server on the default
 * address; `vite build` writes `dist/`, which the server embeds. Tests run in Node by `vitest`.
 */
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const server = 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  server: {
    port: 5173,
    proxy: {
      // The server compares where a request comes from with the host it was sent to, so the host must stay.
      '/api': { target: server, changeOrigin: false },
      '/yjs': { target: server, changeOrigin: false, ws: true },
    },
  },
  build: {
    target: 'es2023',
    // Monaco alone is above the default; the budget that matters is what the first page loads.
    chunkSizeWarningLimit: 4500,
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            { name: 'react', test: /node_modules\/(react|react-dom|scheduler)\// },
            { name: 'yjs', test: /node_modules\/(yjs|lib0|y-protocols|y-websocket)\// },
          ],
        },
      },
    },
  },
  test: {
    include: ['src/**/*.test.ts'],
    // The seeded simulations take a second or two on a busy machine.
    testTimeout: 30_000,
  },
});
