/**
 * The record of every signature that was asked for: who, what (its hash), when, and what came of it. The development backend
 * writes lines of JSON; a TEE worker keeps a Merkle tree that nobody can change unnoticed.
 */
export { createCountingLog } from "./counting.ts";
export type { MonotonicCounter } from "./counter.ts";
export { createJsonLinesLog } from "./json-lines.ts";
export { type LogFiles, openLogFolder } from "./log-files.ts";
export type { LogHead, MerkleSignLog } from "./merkle-log.ts";
export { type MerkleSignLogOptions, openMerkleSignLog } from "./open-merkle-log.ts";
export type { ProvableLog, SignLog, SignRecord } from "./sign-log.ts";
export { SignLogError, type SignLogErrorCode } from "./sign-log-error.ts";
