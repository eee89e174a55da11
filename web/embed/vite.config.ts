/**
 * Builds `dist/embed.js`, the one script a page needs, and what it fetches beside it: `assets/` have a hash of their content in their names. The client comes from
 * `client-wasm/pkg`, which `scripts/build-client` makes, and its WebAssembly stays a file of its own: browsers compile that while it arrives.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: './',
  resolve: {
    alias: {
      '@buildspaces/client': fileURLToPath(new URL('../../client-wasm/pkg/index.js', import.meta.url)),
    },
  },
  build: {
    target: 'es2022',
    modulePreload: false,
    rolldownOptions: {
      input: 'src/embed.ts',
      preserveEntrySignatures: 'exports-only',
      output: {
        entryFileNames: 'embed.js',
        chunkFileNames: 'assets/embed-[name]-[hash].js',
        assetFileNames: 'assets/embed-[name]-[hash][extname]',
      },
    },
  },
  test: { include: ['src/**/*.test.ts'] },
});
