/**
 * Transparency logs: Merkle trees (RFC 6962 section 2.1) and the formats of C2SP around them (signed-note, tlog-checkpoint,
 * tlog-tiles, tlog-proof). Pure functions, for the one who keeps a log and for those who check it. What checks throws a
 * `TlogError`, and returns only what was found true.
 */
export { type Checkpoint, formatCheckpoint, parseCheckpoint, signCheckpoint, verifyCheckpoint } from "./checkpoint.ts";
export { Frontier, type SubtreeHashes } from "./frontier.ts";
export { EMPTY_ROOT, HASH_LENGTH, leafHash, nodeHash } from "./hash.ts";
export {
  createNoteSigner,
  formatVerifierKey,
  type NoteSigner,
  openNote,
  parseVerifierKey,
  signNote,
  type VerifierKey,
  verifierKey,
} from "./note.ts";
export { consistencyProof, inclusionProof, rootOf } from "./prove.ts";
export { formatReceipt, type Receipt, verifyReceipt } from "./receipt.ts";
export {
  encodeBundle,
  parseBundle,
  TILE_HEIGHT,
  TILE_WIDTH,
  type TileName,
  tileHash,
  tilePath,
  tilesOf,
} from "./tiles.ts";
export { TlogError, type TlogErrorCode } from "./tlog-error.ts";
export { type TreeHead, verifyConsistency, verifyInclusion } from "./verify.ts";
