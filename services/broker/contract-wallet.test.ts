import {
  concatHex,
  encodeAbiParameters,
  encodeFunctionData,
  getContractAddress,
  type Hex,
  keccak256,
  pad,
  parseAbi,
  serializeErc6492Signature,
  slice,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { Secret } from "@agentkeys/lib/secret";

import { reasonOf, signIn, startTestBroker, type TestBroker, walletSession } from "./testing/broker.ts";
import { bytecode } from "./testing/evm/bytecode.ts";
import { startTestNode, type TestNode } from "./testing/evm/node.ts";

let node: TestNode;
let broker: TestBroker;
let factory: Hex;
beforeAll(async () => {
  node = await startTestNode();
  const ethereumRpcUrl = new Secret(`${node.url}/v1/a-secret-key-of-the-node`);
  broker = await startTestBroker({ settings: { ethereumRpcUrl } });
  factory = await node.deploy(bytecode.walletFactory);
});
afterAll(async () => {
  await broker.close();
  await node.close();
});
afterEach(() => {
  node.mood = "well";
  node.chainId = 31_337;
});

const newOwner = () => privateKeyToAccount(generatePrivateKey());
type Owner = ReturnType<typeof newOwner>;
const walletCode = (owner: Owner): Hex =>
  concatHex([bytecode.ownedWallet, encodeAbiParameters([{ type: "address" }], [owner.address])]);

/** Where the factory would put a wallet, and how to have it do so (ERC-6492). */
function counterfactual(owner: Owner) {
  const salt = pad("0x2a", { size: 32 });
  const address = getContractAddress({ opcode: "CREATE2", from: factory, salt, bytecode: walletCode(owner) });
  const data = encodeFunctionData({
    abi: parseAbi(["function deploy(address owner, bytes32 salt)"]),
    args: [owner.address, salt],
  });
  return {
    address: address.toLowerCase() as Hex,
    wrap: (signature: Hex) => serializeErc6492Signature({ address: factory, data, signature }),
  };
}

/** A sign-in that waits for the signature of the wallet at an address. */
async function challenged(address: string) {
  const { login, broker: anyone } = broker.clients();
  const { loginId, loginSecret } = await login.startWalletLogin({});
  const { requestId, siweMessage } = await anyone.startWalletAuth({ address, loginId, loginSecret });
  return {
    siweMessage,
    answer: (signature: string) => anyone.verifyWallet({ requestId, signature }),
    collect: () => login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 900 }),
  };
}

describe("a wallet that is a contract", () => {
  test("signs in by what it says itself of a signature, and is named by its own address", async () => {
    const owner = newOwner();
    const address = await node.deploy(walletCode(owner));
    const { siweMessage, answer, collect } = await challenged(address);
    expect(siweMessage).toContain("\nChain ID: 31337\n");
    await answer(await owner.signMessage({ message: siweMessage }));
    expect((await collect()).identity).toMatchObject({ type: IdentityType.EVM, value: address });
  });

  test("that does not exist yet signs in with the way to make it, and is not made by that", async () => {
    const owner = newOwner();
    const { address, wrap } = counterfactual(owner);
    for (let time = 0; time < 2; time++) {
      const { siweMessage, answer, collect } = await challenged(address);
      const signature = await owner.signMessage({ message: siweMessage });
      expect(await reasonOf(answer(signature))).toBe("SIGNATURE_INVALID");
      await answer(wrap(signature));
      expect((await collect()).identity?.value).toBe(address);
    }
  });

  test("takes no signature of somebody else, nor its owner's over something else, in any of its forms", async () => {
    const [owner, stranger] = [newOwner(), newOwner()];
    const deployed = await node.deploy(walletCode(owner));
    const { address, wrap } = counterfactual(owner);
    const other = counterfactual(stranger);
    const atDeployed = await challenged(deployed);
    const message = atDeployed.siweMessage;
    const signatures = [
      await stranger.signMessage({ message }),
      await owner.signMessage({ message: message + " " }),
      concatHex([await owner.signMessage({ message }), "0x00"]),
      other.wrap(await stranger.signMessage({ message })),
    ];
    for (const each of signatures) expect(await reasonOf(atDeployed.answer(each))).toBe("SIGNATURE_INVALID");
    const later = await challenged(address);
    const text = later.siweMessage;
    for (const signature of [
      wrap(await stranger.signMessage({ message: text })),
      // Makes a wallet of the stranger's, which stands elsewhere.
      other.wrap(await stranger.signMessage({ message: text })),
      serializeErc6492Signature({
        address: stranger.address,
        data: "0x",
        signature: await owner.signMessage({ message: text }),
      }),
    ]) {
      expect(await reasonOf(later.answer(signature))).toBe("SIGNATURE_INVALID");
    }
  });

  test.each(["revertingWallet", "talkativeWallet"] as const)("a %s has signed nothing", async (kind) => {
    const owner = newOwner();
    const { siweMessage, answer } = await challenged(await node.deploy(bytecode[kind]));
    expect(await reasonOf(answer(await owner.signMessage({ message: siweMessage })))).toBe("SIGNATURE_INVALID");
  });

  test("proves an account's claim in the same way", async () => {
    const owner = newOwner();
    const address = await node.deploy(walletCode(owner));
    const person = await signIn(broker, "ada@example.com");
    const wallet = { address, sign: (message: string) => owner.signMessage({ message }) };
    const { session } = await walletSession(broker, person, wallet);
    expect(session.walletAddress).toBe(address);
  });
});

describe("a wallet with a key", () => {
  test("has one form of its signature, whatever a node says: neither a high s nor a factory make another one good", async () => {
    const owner = newOwner();
    const { siweMessage, answer, collect } = await challenged(owner.address.toLowerCase());
    const good = await owner.signMessage({ message: siweMessage });
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const s = pad(`0x${(order - BigInt(slice(good, 32, 64))).toString(16)}`, { size: 32 });
    const highS = concatHex([slice(good, 0, 32), s, good.endsWith("1b") ? "0x1c" : "0x1b"]);
    const wrapped = serializeErc6492Signature({ address: factory, data: "0x", signature: good });
    for (const each of [highS, wrapped]) expect(await reasonOf(answer(each))).toBe("SIGNATURE_INVALID");
    const before = node.asked.length;
    await answer(good);
    expect(node.asked).toHaveLength(before);
    expect((await collect()).identity?.value).toBe(owner.address.toLowerCase());
  });

  test("needs no node", async () => {
    node.mood = "silent";
    const owner = newOwner();
    const { siweMessage, answer } = await challenged(owner.address);
    await answer(await owner.signMessage({ message: siweMessage }));
  });
});

describe("while the node cannot be asked", () => {
  test.each(["silent", "busy"] as const)(
    "(%s) nothing is accepted, the challenge stays good, and no secret is logged",
    async (mood) => {
      const owner = newOwner();
      const address = await node.deploy(walletCode(owner));
      const { siweMessage, answer } = await challenged(address);
      const signature = await owner.signMessage({ message: siweMessage });
      node.mood = mood;
      expect(await reasonOf(answer(signature))).toBe("CHAIN_UNAVAILABLE");
      const wrapped = counterfactual(owner).wrap(signature);
      expect(await reasonOf(answer(wrapped))).toBe("CHAIN_UNAVAILABLE");
      node.mood = "well";
      await answer(signature);
      expect(broker.logged.join("\n")).not.toContain("a-secret-key-of-the-node");
    },
  );

  test("it is named by /readyz, and fails it not", async () => {
    node.mood = "busy";
    const response = await fetch(`${broker.url}/readyz`);
    expect(response.status).toBe(200);
    expect(JSON.stringify(await response.json())).toContain("CHAIN_UNAVAILABLE");
  });

  test("for the chain that was signed for, nothing is looked up on another one", async () => {
    const owner = newOwner();
    const address = await node.deploy(walletCode(owner));
    const { siweMessage, answer } = await challenged(address);
    node.chainId = 1;
    expect(await reasonOf(answer(await owner.signMessage({ message: siweMessage })))).toBe("CHAIN_UNAVAILABLE");
  });

  test("a broker starts all the same, and learns the chain later", async () => {
    node.mood = "silent";
    const late = await startTestBroker({ settings: { ethereumRpcUrl: new Secret(node.url) } });
    try {
      const { broker: anyone } = late.clients();
      const messageOf = async () => (await anyone.startWalletAuth({ address: newOwner().address })).siweMessage;
      expect(await messageOf()).toContain("\nChain ID: 1\n");
      node.mood = "well";
      await late.tidy();
      expect(await messageOf()).toContain("\nChain ID: 31337\n");
    } finally {
      await late.close();
    }
  });
});

test("questions to the node are limited by who causes them", async () => {
  const ethereumRpcUrl = new Secret(node.url);
  const strict = await startTestBroker({
    settings: { ethereumRpcUrl },
    allowances: { contractChecks: { times: 1, seconds: 60 } },
  });
  try {
    const { broker: anyone } = strict.clients();
    const { requestId } = await anyone.startWalletAuth({ address: newOwner().address });
    const signature = await newOwner().signMessage({ message: keccak256("0x00") });
    const answer = () => reasonOf(anyone.verifyWallet({ requestId, signature }));
    expect([await answer(), await answer()]).toEqual(["SIGNATURE_INVALID", "RATE_LIMITED"]);
  } finally {
    await strict.close();
  }
});

test("without a node, a broker says that it serves keys only", async () => {
  const plain = await startTestBroker();
  try {
    const { broker: anyone } = plain.clients();
    const { requestId } = await anyone.startWalletAuth({ address: newOwner().address });
    const answer = anyone.verifyWallet({ requestId, signature: `0x${"ab".repeat(100)}` });
    await expect(answer).rejects.toThrow("contract wallets");
  } finally {
    await plain.close();
  }
});
