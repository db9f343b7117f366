// RUN: PLENA_ROUNDTRIP

// Transfers between HBM and the SRAMs.

builtin.module {
  %h = tile.buffer @h [4096] : !tile.buffer<hbm>
  %m = tile.buffer @m [4096] : !tile.buffer<matrix>
  %v = tile.buffer @v [4096] : !tile.buffer<vector>
  %f = tile.buffer @f [64] : !tile.buffer<fp>
  %i = tile.buffer @i [64] : !tile.buffer<int>
  tile.load_rows dst(%v : vector) src(%h : hbm) rows = 64 blocks = 2 dst_block = 3 src_row = 4 src_block = 5 kv = 6 attributes {plena.step = "s"}
  tile.load_rows dst(%v : vector) src(%h : hbm)
  tile.store_rows dst(%h : hbm) src(%v : vector) rows = 64 blocks = 2 src_block = 3 dst_row = 4 dst_block = 5 kv = 6 attributes {plena.step = "s"}
  tile.store_rows dst(%h : hbm) src(%v : vector)
  tile.load_tiles dst(%m : matrix) src(%h : hbm) outer = 1 inner = 2 dst_outer = 3 dst_inner = 4 src_outer = 5 src_inner = 6 src_row = 7 kv = 8 attributes {plena.step = "s"}
  tile.load_tiles dst(%m : matrix) src(%h : hbm)
  tile.gather_rows dst(%v : vector) table(%h : hbm) offsets(%i : int) rows = 64 blocks = 2 dst_block = 3 table_block = 4 attributes {plena.step = "s"}
  tile.gather_rows dst(%v : vector) table(%h : hbm) offsets(%i : int)
  tile.scatter_rows dst(%h : hbm) src(%v : vector) offsets(%i : int) rows = 3 blocks = 4 kv = 1 attributes {plena.step = "s"}
  tile.scatter_rows dst(%h : hbm) src(%v : vector) offsets(%i : int)
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %h = tile.buffer @h [4096] : !tile.buffer<hbm>
// CHECK-NEXT:   %m = tile.buffer @m [4096] : !tile.buffer<matrix>
// CHECK-NEXT:   %v = tile.buffer @v [4096] : !tile.buffer<vector>
// CHECK-NEXT:   %f = tile.buffer @f [64] : !tile.buffer<fp>
// CHECK-NEXT:   %i = tile.buffer @i [64] : !tile.buffer<int>
// CHECK-NEXT:   tile.load_rows dst(%v : vector) src(%h : hbm) rows = 64 blocks = 2 dst_block = 3 src_row = 4 src_block = 5 kv = 6 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.load_rows dst(%v : vector) src(%h : hbm)
// CHECK-NEXT:   tile.store_rows dst(%h : hbm) src(%v : vector) rows = 64 blocks = 2 src_block = 3 dst_row = 4 dst_block = 5 kv = 6 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.store_rows dst(%h : hbm) src(%v : vector)
// CHECK-NEXT:   tile.load_tiles dst(%m : matrix) src(%h : hbm) outer = 1 inner = 2 dst_outer = 3 dst_inner = 4 src_outer = 5 src_inner = 6 src_row = 7 kv = 8 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.load_tiles dst(%m : matrix) src(%h : hbm)
// CHECK-NEXT:   tile.gather_rows dst(%v : vector) table(%h : hbm) offsets(%i : int) rows = 64 blocks = 2 dst_block = 3 table_block = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.gather_rows dst(%v : vector) table(%h : hbm) offsets(%i : int)
// CHECK-NEXT:   tile.scatter_rows dst(%h : hbm) src(%v : vector) offsets(%i : int) rows = 3 blocks = 4 kv = 1 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.scatter_rows dst(%h : hbm) src(%v : vector) offsets(%i : int)
// CHECK-NEXT: }
