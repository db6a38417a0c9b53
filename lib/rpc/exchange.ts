import type { CallRecord } from "./call-record.ts";
import type { NodeRequest, NodeResponse } from "./node-http.ts";
import type { RequestInfo } from "./request-info.ts";

/** One HTTP request, its response to be, and what is known of the two. */
export interface Exchange {
  request: NodeRequest;
  response: NodeResponse;
  info: RequestInfo;
  record: CallRecord;
  /** The part of the request target after "?", without it. */
  query: string;
}
