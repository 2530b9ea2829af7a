/** The same module for import: one implementation, so one pool however it is loaded. */
export {
  getStatus, createVercelHandler, createNetlifyHandler, createFetchHandler, vercelHandler, netlifyHandler, fetchHandler,
  handler, GET, HEAD,
} from './status.cjs';
export { vercelHandler as default } from './status.cjs';
