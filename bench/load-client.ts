import { Agent, request } from "node:http";

/** Posts JSON to a server over connections that stay open; cheap, so that the server is what is measured. */
export interface LoadClient {
  /** Rejects for any status but 200. */
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<string>;
  close(): void;
}

export function createLoadClient(baseUrl: string): LoadClient {
  const { hostname, port } = new URL(baseUrl);
  const agent = new Agent({ keepAlive: true, maxSockets: 64, noDelay: true });
  return {
    post(path, body, headers = {}) {
      const text = JSON.stringify(body);
      return new Promise((resolve, reject) => {
        const call = request(
          {
            agent,
            hostname,
            port,
            path,
            method: "POST",
            headers: { ...headers, "content-type": "application/json", "content-length": Buffer.byteLength(text) },
          },
          (response) => {
            let answer = "";
            response.setEncoding("utf8");
            response.on("data", (chunk: string) => (answer += chunk));
            response.on("end", () => {
              if (response.statusCode === 200) resolve(answer);
              else reject(new Error(`${path} answered ${response.statusCode ?? 0}: ${answer}`));
            });
          },
        );
        call.on("error", reject);
        call.end(text);
      });
    },
    close: () => agent.destroy(),
  };
}
