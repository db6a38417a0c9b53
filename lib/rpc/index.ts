/** One port for Connect, gRPC, gRPC-Web and the HTTP routes that the protos declare; and the client's side of it. */
export { type ChannelBinding, channelBinding, tlsExporterOf } from "./channel-binding.ts";
export { connectTransport, type Http2Connections, type TransportOptions } from "./client.ts";
export { type CallFailure, failureOf } from "./failure-of.ts";
export { stopping } from "./guard.ts";
export type { Limits } from "./limits.ts";
export type { Pages } from "./pages.ts";
export { Readiness } from "./readiness.ts";
export { codeOf } from "./reason-codes.ts";
export { requestInfo, type RequestInfo } from "./request-info.ts";
export { runUntilSignal } from "./run-until-signal.ts";
export { type RunningServer, serve, type ServeOptions } from "./server.ts";
