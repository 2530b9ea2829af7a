export interface Recommendation {
  type: string;
  message: string;
  suggestion: string;
  priority: 'critical' | 'high' | 'medium' | 'low';
}

export interface StatusSection {
  health: string;
  state: string;
  issues: string[];
  statistics: any;
  derivedMetrics: any;
  recommendations: Recommendation[];
}

export interface Status {
  status: string;
  timestamp: string;
  connectionPool: StatusSection;
  pools: ({ name: string; status: string } & StatusSection)[];
}

export interface StatusOptions {
  /** Instead of CENOTE_ADMIN_TOKEN. */
  token?: string | (() => string | undefined);
  /** Answers everybody where no token is set: only behind something that checks callers itself. */
  allowWithoutToken?: boolean;
  /** These pools, not those of the modules in use. */
  pools?: object[];
  /** false: the databases are not asked, the figures alone decide. */
  probe?: boolean;
}

export function getStatus(options?: Pick<StatusOptions, 'pools' | 'probe'>): Promise<Status>;

export type VercelHandler = (req: any, res: any) => Promise<void>;
export type NetlifyHandler = (
  event: any,
  context?: any
) => Promise<{ statusCode: number; headers: Record<string, string>; body: string }>;
export type FetchHandler = (request: Request) => Promise<Response>;

export function createVercelHandler(options?: StatusOptions): VercelHandler;
export function createNetlifyHandler(options?: StatusOptions): NetlifyHandler;
export function createFetchHandler(options?: StatusOptions): FetchHandler;

export const vercelHandler: VercelHandler;
export const netlifyHandler: NetlifyHandler;
export const fetchHandler: FetchHandler;
export const handler: NetlifyHandler;
export const GET: FetchHandler;
export const HEAD: FetchHandler;
export default vercelHandler;
