// RUN: PLENA_ROUNDTRIP

// Matrix products.

builtin.module {
  %h = tile.buffer @h [4096] : !tile.buffer<hbm>
  %m = tile.buffer @m [4096] : !tile.buffer<matrix>
  %v = tile.buffer @v [4096] : !tile.buffer<vector>
  %f = tile.buffer @f [64] : !tile.buffer<fp>
  %i = tile.buffer @i [64] : !tile.buffer<int>
  tile.matmul out(%v : vector) x(%v : vector) w(%m : matrix) rows = 64 k_tiles = 2 columns = 3 transposed = 4 x_block = 5 w_k = 6 w_n = 7 out_block = 8 attributes {plena.step = "s"}
  tile.matmul out(%v : vector) x(%v : vector) w(%m : matrix)
  tile.matmul_pair out(%v : vector) x(%v : vector) copy(%v : vector) w(%m : matrix) k_tiles = 1 transposed = 2 block = 3 out_block = 4 attributes {plena.step = "s"}
  tile.matmul_pair out(%v : vector) x(%v : vector) copy(%v : vector) w(%m : matrix)
  tile.pack out(%v : vector) x(%v : vector) p(%m : matrix) sets = 1 x_set = 2 row_blocks = 3 x_row_block = 4 blocks = 5 x_block = 6 out_block = 7 attributes {plena.step = "s"}
  tile.pack out(%v : vector) x(%v : vector) p(%m : matrix)
  tile.broadcast_matmul out(%v : vector) x(%v : vector) w(%m : matrix) k_tiles = 1 slices = 2 n_tiles = 3 transposed = 4 x_block = 5 w_k = 6 w_n = 7 out_block = 8 partial = 9 attributes {plena.step = "s"}
  tile.broadcast_matmul out(%v : vector) x(%v : vector) w(%m : matrix)
  tile.pack_vectors out(%v : vector) x(%v : vector) p(%m : matrix) vectors = 1 x_vector = 2 blocks = 3 x_block = 4 out_block = 5 attributes {plena.step = "s"}
  tile.pack_vectors out(%v : vector) x(%v : vector) p(%m : matrix)
  tile.vector_matmul out(%v : vector) x(%v : vector) w(%m : matrix) k_tiles = 1 slices = 2 n_tiles = 3 x_block = 4 w_k = 5 w_n = 6 out_block = 7 partial = 8 attributes {plena.step = "s"}
  tile.vector_matmul out(%v : vector) x(%v : vector) w(%m : matrix)
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %h = tile.buffer @h [4096] : !tile.buffer<hbm>
// CHECK-NEXT:   %m = tile.buffer @m [4096] : !tile.buffer<matrix>
// CHECK-NEXT:   %v = tile.buffer @v [4096] : !tile.buffer<vector>
// CHECK-NEXT:   %f = tile.buffer @f [64] : !tile.buffer<fp>
// CHECK-NEXT:   %i = tile.buffer @i [64] : !tile.buffer<int>
// CHECK-NEXT:   tile.matmul out(%v : vector) x(%v : vector) w(%m : matrix) rows = 64 k_tiles = 2 columns = 3 transposed = 4 x_block = 5 w_k = 6 w_n = 7 out_block = 8 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.matmul out(%v : vector) x(%v : vector) w(%m : matrix)
// CHECK-NEXT:   tile.matmul_pair out(%v : vector) x(%v : vector) copy(%v : vector) w(%m : matrix) k_tiles = 1 transposed = 2 block = 3 out_block = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.matmul_pair out(%v : vector) x(%v : vector) copy(%v : vector) w(%m : matrix)
// CHECK-NEXT:   tile.pack out(%v : vector) x(%v : vector) p(%m : matrix) sets = 1 x_set = 2 row_blocks = 3 x_row_block = 4 blocks = 5 x_block = 6 out_block = 7 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.pack out(%v : vector) x(%v : vector) p(%m : matrix)
// CHECK-NEXT:   tile.broadcast_matmul out(%v : vector) x(%v : vector) w(%m : matrix) k_tiles = 1 slices = 2 n_tiles = 3 transposed = 4 x_block = 5 w_k = 6 w_n = 7 out_block = 8 partial = 9 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.broadcast_matmul out(%v : vector) x(%v : vector) w(%m : matrix)
// CHECK-NEXT:   tile.pack_vectors out(%v : vector) x(%v : vector) p(%m : matrix) vectors = 1 x_vector = 2 blocks = 3 x_block = 4 out_block = 5 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.pack_vectors out(%v : vector) x(%v : vector) p(%m : matrix)
// CHECK-NEXT:   tile.vector_matmul out(%v : vector) x(%v : vector) w(%m : matrix) k_tiles = 1 slices = 2 n_tiles = 3 x_block = 4 w_k = 5 w_n = 6 out_block = 7 partial = 8 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.vector_matmul out(%v : vector) x(%v : vector) w(%m : matrix)
// CHECK-NEXT: }
