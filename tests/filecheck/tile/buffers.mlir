// RUN: PLENA_ROUNDTRIP

// Buffers, placed and anchored, with placements; data, constants, views, addresses.

builtin.module {
  tile.data @g #tile.matrix<[3, 4] all 2.500000e-01>
  tile.data @long #tile.matrix<[1, 2] "0000807f0000803f">
  %h = tile.buffer @weights [4096] : !tile.buffer<hbm> placements [#tile.placement<"w" of data @w as tiled [32, 64] HBM_M_WEIGHT_TYPE>, #tile.placement<"g" of constant @g as tiled [3, 4] HBM_M_WEIGHT_TYPE padded [64, 64] view [reshape [4, 3], permute [1, 0]] offset 2048 order columns scale 5.000000e-01 : f64 residual staging nearest>]
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
// CHECK-NEXT:   tile.data @g #tile.matrix<[3, 4] all 2.500000e-01>
// CHECK-NEXT:   tile.data @long #tile.matrix<[1, 2] "0000807f0000803f">
// CHECK-NEXT:   %h = tile.buffer @weights [4096] : !tile.buffer<hbm> placements [#tile.placement<"w" of data @w as tiled [32, 64] HBM_M_WEIGHT_TYPE>, #tile.placement<"g" of constant @g as tiled [3, 4] HBM_M_WEIGHT_TYPE padded [64, 64] view [reshape [4, 3], permute [1, 0]] offset 2048 order columns scale 5.000000e-01 : f64 residual staging nearest>]
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
