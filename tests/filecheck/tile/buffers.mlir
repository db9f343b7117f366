// RUN: PLENA_ROUNDTRIP

// Buffers, placed and anchored, with placements; constants, views, addresses.

builtin.module {
  %h = tile.buffer @weights [4096] : !tile.buffer<hbm> placements [{name = "w", memory = "hbm", address = 0 : i64, shape = [64 : i64, 64 : i64], layout = "tiled", format = "HBM_M_WEIGHT_TYPE", source = {data = "w"}}]
  %m = tile.buffer @tiles [8192] : !tile.buffer<matrix> at 4096
  %v = tile.buffer @rows [640] : !tile.buffer<vector> anchor @tiles[128]
  %w = tile.buffer @both [64] : !tile.buffer<vector> anchor @tiles[0] at 4096
  %f = tile.buffer @words [3] : !tile.buffer<fp> at 7
  %i = tile.buffer @table [1] : !tile.buffer<int>
  %c = tile.constant [1.0, -0.5] at 2
  %d = tile.constant [1.0e-06]
  loop.for %n = 0 to 4 {
    %o = loop.affine 64 + 128 * %n
    %p = tile.view %v[%o] : !tile.buffer<vector>
    %q = tile.view %p[%o] : !tile.buffer<vector>
    %a = tile.address %q : !tile.buffer<vector>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %h = tile.buffer @weights [4096] : !tile.buffer<hbm> placements [{name = "w", memory = "hbm", address = 0 : i64, shape = [64 : i64, 64 : i64], layout = "tiled", format = "HBM_M_WEIGHT_TYPE", source = {data = "w"}}]
// CHECK-NEXT:   %m = tile.buffer @tiles [8192] : !tile.buffer<matrix> at 4096
// CHECK-NEXT:   %v = tile.buffer @rows [640] : !tile.buffer<vector> anchor @tiles[128]
// CHECK-NEXT:   %w = tile.buffer @both [64] : !tile.buffer<vector> anchor @tiles[0] at 4096
// CHECK-NEXT:   %f = tile.buffer @words [3] : !tile.buffer<fp> at 7
// CHECK-NEXT:   %i = tile.buffer @table [1] : !tile.buffer<int>
// CHECK-NEXT:   %c = tile.constant [1.000000e+00 : f64, -5.000000e-01 : f64] at 2
// CHECK-NEXT:   %d = tile.constant [1.000000e-06 : f64]
// CHECK-NEXT:   loop.for %n = 0 to 4 {
// CHECK-NEXT:     %o = loop.affine 64 + 128 * %n
// CHECK-NEXT:     %p = tile.view %v[%o] : !tile.buffer<vector>
// CHECK-NEXT:     %q = tile.view %p[%o] : !tile.buffer<vector>
// CHECK-NEXT:     %a = tile.address %q : !tile.buffer<vector>
// CHECK-NEXT:   }
// CHECK-NEXT: }
