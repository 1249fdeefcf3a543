// Generated from client_web/verify/job.ts by client_web/verify/build.ts: edit that.

// 4211 job (SPEC.md, "4211 job").

import { isHex64, must } from "./bytes.js";
import {
                                 bits, hexBytes, id, integer, list, object, readAddress, readContent, text,
} from "./event.js";

import { readLane } from "./terms.js";

const U32 = 0xffffffff;
const MAX_BRANCHES = 32;

export function readBranches(value ) {
  const merkle = list(value, "merkle").map((branch) => hexBytes(branch, "a branch", 32));
  must(merkle.length <= MAX_BRANCHES, "too many branches");
  return merkle;
}

export function readJob(event ) {
  must(event.kind === 4211, "another kind");
  const fields = readContent(event);
  const address = readAddress(event);
  const ms = integer(fields["ms"], "ms");
  must(Math.floor(ms / 1000) === event.created_at, "created_at is not the ms in seconds");

  const heads = new Map ();
  for (const [lane, head] of Object.entries(object(fields["heads"], "heads"))) {
    must(head === "" || isHex64(head), "a head is no id");
    heads.set(readLane(lane), head);
  }

  const upstream = "upstream" in fields;
  if (upstream) object(fields["upstream"], "upstream");
  for (const [name, size] of [["bind_size", 32], ["en1_size", 4], ["en2_size", 8]] ) {
    must(upstream || integer(fields[name], name) === size, `${name} is not ${size}`);
  }

  const merkle = readBranches(fields["merkle"]);
  return {
    event,
    address,
    ms,
    terms: id(fields["terms"], "terms"),
    offer: text(fields["offer"], "offer"),
    heads,
    height: integer(fields["height"], "height", 1, 0x7fffffff),
    version: integer(fields["version"], "version", 0, U32),
    prevhash: hexBytes(fields["prevhash"], "prevhash", 32),
    nbits: bits(fields["nbits"], "nbits"),
    ntime: integer(fields["ntime"], "ntime", 0, U32),
    coinb1: hexBytes(fields["coinb1"], "coinb1"),
    coinb2: hexBytes(fields["coinb2"], "coinb2"),
    merkle,
    versionMask: bits(fields["version_mask"], "version_mask"),
    upstream,
  };
}
