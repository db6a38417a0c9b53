import * as http from "node:http";
import * as https from "node:https";

/** Sends requests to a server over connections that stay open; cheap, so that the server is what is measured. */
export interface LoadClient {
  /** Posts JSON. Rejects for any status but 200. */
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<string>;
  /** Sends what a browser does, redirects not followed. */
  send(o: LoadRequest): Promise<LoadAnswer>;
  close(): void;
}

export interface LoadRequest {
  method: "GET" | "POST";
  path: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
}

export interface LoadAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

export function createLoadClient(baseUrl: string): LoadClient {
  const { hostname, port, protocol } = new URL(baseUrl);
  const { Agent, request } = protocol === "https:" ? https : http;
  // Who is at the other end is not what is measured.
  const agent = new Agent({ keepAlive: true, maxSockets: 64, noDelay: true, rejectUnauthorized: false });
  const send = ({ method, path, headers = {}, body = "" }: LoadRequest): Promise<LoadAnswer> =>
    new Promise((resolve, reject) => {
      const length = method === "GET" ? {} : { "content-length": Buffer.byteLength(body) };
      const call = request({ agent, hostname, port, path, method, headers: { ...headers, ...length } }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      });
      call.on("error", reject);
      call.end(body);
    });
  return {
    send,
    post: async (path, body, headers = {}) => {
      const json = { ...headers, "content-type": "application/json" };
      const { status, text } = await send({ method: "POST", path, headers: json, body: JSON.stringify(body) });
      if (status !== 200) throw new Error(`${path} answered ${status}: ${text}`);
      return text;
    },
    close: () => agent.destroy(),
  };
}
