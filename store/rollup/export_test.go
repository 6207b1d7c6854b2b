package rollup

// PackChunk packs rows as they were before they had a form of their own.
var PackChunk = packChunk
