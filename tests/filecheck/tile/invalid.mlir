// RUN: plena-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: unknown memory space cache; one of hbm, matrix, vector, fp, int
%b = tile.buffer @b [1] : !tile.buffer<cache>

// -----

// CHECK: buffer b has size 0
%b = tile.buffer @b [0] : !tile.buffer<fp>

// -----

// CHECK: only matrix and vector SRAM have anchors
%b = tile.buffer @b [1] : !tile.buffer<hbm> anchor @c[0]

// -----

// CHECK: a buffer has type !tile.buffer
%b = tile.buffer @b [1] : index

// -----

// CHECK: placements are a list of #tile.placement<...>
%b = tile.buffer @b [1] : !tile.buffer<hbm> placements [1 : i64]

// -----

// CHECK: buffer b ends at 8, x at 10
%b = tile.buffer @b [8] : !tile.buffer<fp> placements [#tile.placement<"x" of input 0 as words [2, 4] bf16 offset 2>]

// -----

// CHECK: x: diagonal is none of rows, tiled, column_blocks, words
%b = tile.buffer @b [8] : !tile.buffer<fp> placements [#tile.placement<"x" of input 0 as diagonal [2, 4] bf16>]

// -----

// CHECK: x: [2, 4] does not fit in the padded [2, 2]
%b = tile.buffer @b [8] : !tile.buffer<vector> placements [#tile.placement<"x" of input 0 as rows [2, 4] bf16 padded [2, 2]>]

// -----

// CHECK: x: the view gives [4, 2], not [2, 4]
%b = tile.buffer @b [8] : !tile.buffer<vector> placements [#tile.placement<"x" of input 0 as rows [2, 4] bf16 view [reshape [4, 2]]>]

// -----

// CHECK: unknown view step turn; one of reshape, permute, expand, slice, pad, compare, bits, infinite, biases, hidden
%b = tile.buffer @b [8] : !tile.buffer<vector> placements [#tile.placement<"x" of input 0 as rows [2, 4] bf16 view [turn [4, 2]]>]

// -----

// CHECK: [1, 2] is no permutation
%b = tile.buffer @b [8] : !tile.buffer<vector> placements [#tile.placement<"x" of input 0 as rows [2, 4] bf16 view [permute [1, 2]]>]

// -----

// CHECK: unknown source disk; one of input, output, constant, host, state, scratch, data
%b = tile.buffer @b [8] : !tile.buffer<vector> placements [#tile.placement<"x" of disk as rows [2, 4] bf16>]

// -----

// CHECK: 8 bytes are no float32 matrix [3, 1]
tile.data @d #tile.matrix<[3, 1] "0000807f0000803f">

// -----

// CHECK: tile.zero needs dst
tile.zero rows = 3

// -----

// CHECK: tile.zero: dst must be a buffer in vector
%b = tile.buffer @b [1] : !tile.buffer<fp>
tile.zero dst(%b : fp) rows = 3

// -----

// CHECK: tile.zero: rows must not be negative
%b = tile.buffer @b [1] : !tile.buffer<vector>
tile.zero dst(%b : vector) rows = -3

// -----

// CHECK: tile.reduce_rows: kind must be one of sum, max
%b = tile.buffer @b [1] : !tile.buffer<vector>
%f = tile.buffer @f [1] : !tile.buffer<fp>
tile.reduce_rows kind = "mean" scalars(%f : fp) scratch(%b : vector) x(%b : vector) rows = 1

// -----

// CHECK: tile.lanewise: unknown kind tan
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "tan" %a
  tile.yield %r
}

// -----

// CHECK: tile.lanewise: add takes 2 operands
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "add" %a
  tile.yield %r
}

// -----

// CHECK: tile.lanewise: max needs a number of FP SRAM
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "max" %a, %a : !tile.lanes
  tile.yield %r
}

// -----

// CHECK: tile.yield: what is written must be computed in the body
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  tile.yield %a
}

// -----

// CHECK: tile.elementwise: an input that is an output needs the same strides
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[0, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "exp" %a
  tile.yield %r
}

// -----

// CHECK: tile.elementwise: sizes must be positive, strides must not be negative
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 0 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "exp" %a
  tile.yield %r
}

// -----

// CHECK: tile.elementwise: the body takes one !tile.lanes per input
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "exp" %a
  tile.yield %r
}

// -----

// CHECK: tile.elementwise: the body ends in tile.yield of one row per output
%x = tile.buffer @x [64] : !tile.buffer<vector>
tile.elementwise rows = 1 blocks = 1 out(%x[64, 64]) in(%x[64, 64]) {
^bb0(%a : !tile.lanes):
  %r = tile.lanewise "exp" %a
  tile.yield %r, %r
}

// -----

// CHECK: tile.topk: policy must be one of 0, 1
%v = tile.buffer @v [128] : !tile.buffer<vector>
%f = tile.buffer @f [8] : !tile.buffer<fp>
%i = tile.buffer @i [8] : !tile.buffer<int>
tile.topk ids(%i : int) weights(%f : fp) x(%v : vector) policy = 2
