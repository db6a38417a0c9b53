import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import { createEVM, type EVM } from "@ethereumjs/evm";
import { bytesToHex, createAddressFromString, hexToBytes, type PrefixedHexString } from "@ethereumjs/util";

/**
 * A test node: an EVM that runs real code, with the three methods of Ethereum's JSON-RPC that the broker asks for. It has no blocks, no
 * transactions and no other nodes; what is called is forgotten again, as with `eth_call` everywhere.
 */
export interface TestNode {
  url: string;
  chainId: number;
  /** The methods that were asked for. */
  asked: string[];
  /** How it answers: as a node, as one that is overloaded, or not at all. */
  mood: "well" | "busy" | "silent";
  /** Puts a contract on its chain, and gives its address. */
  deploy(code: PrefixedHexString): Promise<PrefixedHexString>;
  close(): Promise<void>;
}

const DEPLOYER = createAddressFromString("0x00000000000000000000000000000000000d3b10");
const GAS = 30_000_000n;

interface Request {
  id: number;
  method: string;
  /** What it is about: an address, or a call. */
  params?: [PrefixedHexString | Call, ...unknown[]];
}

interface Call {
  to?: PrefixedHexString;
  data?: PrefixedHexString;
}

export async function startTestNode(): Promise<TestNode> {
  const evm = await createEVM();
  const server = createServer((request, response) => {
    if (node.mood === "silent") {
      request.socket.destroy();
      return;
    }
    if (node.mood === "busy") {
      response.writeHead(503).end("the node is overloaded");
      return;
    }
    void bodyOf(request).then(async (body) => {
      const { id, method, params = ["0x"] } = JSON.parse(body) as Request;
      node.asked.push(method);
      const answer = await answerTo(evm, node, method, params[0]);
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ jsonrpc: "2.0", id, ...answer }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const node: TestNode = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    chainId: 31_337,
    asked: [],
    mood: "well",
    deploy: async (code) => {
      const { createdAddress, execResult } = await evm.runCall({
        caller: DEPLOYER,
        data: hexToBytes(code),
        gasLimit: GAS,
        skipBalance: true,
      });
      if (createdAddress === undefined || execResult.exceptionError !== undefined)
        throw new Error(`not deployed: ${execResult.exceptionError?.error ?? "no address"}`);
      return createdAddress.toString();
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return node;
}

async function answerTo(evm: EVM, { chainId }: TestNode, method: string, subject: PrefixedHexString | Call) {
  if (method === "eth_chainId") return { result: `0x${chainId.toString(16)}` };
  if (method === "eth_getCode" && typeof subject === "string")
    return { result: bytesToHex(await evm.stateManager.getCode(createAddressFromString(subject))) };
  if (method === "eth_call" && typeof subject === "object") return call(evm, subject);
  return { error: { code: -32601, message: `this test node has no such ${method}` } };
}

/** Runs a call, or, without an address, the code that would deploy something, and takes back what it changed. */
async function call(evm: EVM, { to, data = "0x" }: Call) {
  await evm.journal.checkpoint();
  try {
    const { execResult } = await evm.runCall({
      ...(to !== undefined && { to: createAddressFromString(to) }),
      data: hexToBytes(data),
      gasLimit: GAS,
      skipBalance: true,
    });
    const { exceptionError, returnValue } = execResult;
    if (exceptionError === undefined) return { result: bytesToHex(returnValue) };
    if (exceptionError.error === "revert")
      return { error: { code: 3, message: "execution reverted", data: bytesToHex(returnValue) } };
    return { error: { code: -32000, message: exceptionError.error } };
  } finally {
    await evm.journal.revert();
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
