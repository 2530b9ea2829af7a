/** What the declarations of cenote/status allow, and what they refuse. Compiled, never run. */
import {
  createFetchHandler, createNetlifyHandler, createVercelHandler, fetchHandler, GET, getStatus, handler, HEAD,
  netlifyHandler, vercelHandler,
} from 'cenote/status';
import type { FetchHandler, NetlifyHandler, Recommendation, Status, StatusOptions, VercelHandler } from 'cenote/status';
import { connectionPoolManager } from 'cenote/connection-pool';

export async function allowed(): Promise<Recommendation[]> {
  const options: StatusOptions = { token: () => process.env['TOKEN'], pools: [connectionPoolManager], probe: false };
  const vercel: VercelHandler = createVercelHandler(options);
  const netlify: NetlifyHandler = createNetlifyHandler({ token: 'x' });
  const fetching: FetchHandler = createFetchHandler();
  const answer: Response = await fetching(new Request('http://localhost/'));
  const { statusCode, body } = await netlify({ headers: {} });
  const status: Status = await getStatus({ probe: true });
  void [vercel, vercelHandler, netlifyHandler, fetchHandler, handler, GET, HEAD, answer.status, statusCode, body];
  return status.connectionPool.recommendations.filter((one) => one.priority === 'critical');
}

export async function refused(): Promise<void> {
  // @ts-expect-error a token is a text
  createFetchHandler({ token: 1 });
  // @ts-expect-error a request, no address
  await GET('http://localhost/');
  // @ts-expect-error no such priority
  (await allowed()).some((one) => one.priority === 'urgent');
}
