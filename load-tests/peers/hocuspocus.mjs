// A Hocuspocus server as its documentation starts one, in memory or with its SQLite extension.
// Arguments: port, and the database's file for SQLite.
import { Server } from '@hocuspocus/server'

const [port, file] = process.argv.slice(2)
const extensions = []
if (file) {
  const { SQLite } = await import('@hocuspocus/extension-sqlite')
  extensions.push(new SQLite({ database: file }))
}
const server = new Server({ port: Number(port), address: '127.0.0.1', quiet: true, extensions })
await server.listen()
