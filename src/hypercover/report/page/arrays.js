"use strict";

/* The arrays of the page: base64 of raw deflate, unpacked by the browser itself. */

const KINDS = { u1: Uint8Array, u2: Uint16Array, f4: Float32Array };

async function unpacked(array) {
  const text = atob(array.packed);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new KINDS[array.type](await new Response(stream).arrayBuffer());
}

/* Unpack once, when first asked for. */
function once(make) {
  let made;
  return () => (made ??= make());
}
