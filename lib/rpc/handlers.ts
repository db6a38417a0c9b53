import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type ConnectRouter, createConnectRouter, type Interceptor, type ServiceImpl } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import type { UniversalHandler } from "@connectrpc/connect/protocol";

import { ErrorReason, Failure } from "../failure.ts";

/** Connect's handlers of every RPC. */
export interface Handlers {
  /** By request path, `/package.Service/Method`: Connect, gRPC and gRPC-Web. */
  rpc: ReadonlyMap<string, UniversalHandler>;
  /** By the same path: unary Connect JSON with proto field names and every implicit field written, for the HTTP routes. */
  rest: ReadonlyMap<string, UniversalHandler>;
}

/**
 * Collects what the routes register, once, and builds the handlers from it. An RPC that its service leaves out, or whose service was not
 * registered although it is one of `services`, answers NOT_SERVED.
 */
export function createHandlers(options: {
  services: readonly DescService[];
  routes: (router: ConnectRouter) => void;
  /** Served beside the routes, with interceptors of their own: reflection and health have no callers to authenticate. */
  own: (router: ConnectRouter) => void;
  interceptors: Interceptor[];
  ownInterceptors: Interceptor[];
}): Handlers {
  const recorded = record(options.routes);
  for (const service of options.services) {
    if (!recorded.services.has(service.typeName)) recorded.router.service(service, {});
  }

  const acceptCompression = [compressionGzip, compressionBrotli];
  const rpc = createConnectRouter({ acceptCompression, interceptors: options.interceptors });
  const ownRpc = createConnectRouter({ acceptCompression, interceptors: options.ownInterceptors });
  const rest = createConnectRouter({
    acceptCompression,
    interceptors: options.interceptors,
    jsonOptions: { useProtoFieldName: true, alwaysEmitImplicit: true },
    grpc: false,
    grpcWeb: false,
  });
  recorded.replay(rpc);
  recorded.replay(rest);
  options.own(ownRpc);
  return { rpc: byPath([...rpc.handlers, ...ownRpc.handlers]), rest: byPath(rest.handlers) };
}

function byPath(handlers: readonly UniversalHandler[]): Map<string, UniversalHandler> {
  return new Map(handlers.map((handler) => [handler.requestPath, handler]));
}

interface Recorder {
  router: ConnectRouter;
  services: ReadonlySet<string>;
  replay(router: ConnectRouter): void;
}

/** A router that remembers what was registered, so that it can be registered again. */
function record(register: (router: ConnectRouter) => void): Recorder {
  const services = new Set<string>();
  const registrations: ((router: ConnectRouter) => void)[] = [];
  const router: ConnectRouter = {
    handlers: [],
    service: (service, implementation, options) => {
      services.add(service.typeName);
      const complete = withEveryMethod(service, implementation);
      registrations.push((target) => target.service(service, complete, options));
      return router;
    },
    rpc: (method, implementation, options) => {
      registrations.push((target) => target.rpc(method, implementation, options));
      return router;
    },
  };
  register(router);
  return { router, services, replay: (target) => registrations.forEach((replayOn) => replayOn(target)) };
}

function withEveryMethod(service: DescService, implementation: Partial<ServiceImpl<DescService>>) {
  const entries = service.methods.map((method): [string, unknown] => {
    const own: unknown = implementation[method.localName];
    return [method.localName, typeof own === "function" ? own.bind(implementation) : notServed(method)];
  });
  return Object.fromEntries(entries) as Partial<ServiceImpl<DescService>>;
}

function notServed(method: DescMethod): () => never {
  return () => {
    const name = `${method.parent.typeName}/${method.name}`;
    throw new Failure(ErrorReason.NOT_SERVED, `This server does not serve ${name}.`);
  };
}
