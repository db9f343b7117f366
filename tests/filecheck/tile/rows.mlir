// RUN: PLENA_ROUNDTRIP

// Operations on rows and words: all kinds, optional operands there and absent, numbers of 0 left out.

builtin.module {
  %h = tile.buffer @h [4096] : !tile.buffer<hbm>
  %m = tile.buffer @m [4096] : !tile.buffer<matrix>
  %v = tile.buffer @v [4096] : !tile.buffer<vector>
  %f = tile.buffer @f [64] : !tile.buffer<fp>
  %i = tile.buffer @i [64] : !tile.buffer<int>
  tile.splat dst(%v : vector) values(%f : fp) rows = 64 dst_row = 2 attributes {plena.step = "s"}
  tile.splat dst(%v : vector) values(%f : fp)
  tile.zero dst(%v : vector) rows = 64 attributes {plena.step = "s"}
  tile.zero dst(%v : vector)
  tile.softmax_rows x(%v : vector) floor(%f : fp) scratch(%v : vector) rows = 64 blocks = 2 block = 3 sink = 4 attributes {plena.step = "s"}
  tile.softmax_rows x(%v : vector) floor(%f : fp) rows = 64 blocks = 2 block = 3 sink = 4
  tile.softmax_rows x(%v : vector) floor(%f : fp) scratch(%v : vector)
  tile.reset_state maximum(%f : fp) total(%f : fp) floor(%f : fp) rows = 64 sink = 2 attributes {plena.step = "s"}
  tile.reset_state maximum(%f : fp) total(%f : fp) floor(%f : fp)
  tile.online_softmax x(%v : vector) maximum(%f : fp) total(%f : fp) correction(%f : fp) rows = 64 blocks = 2 block = 3 attributes {plena.step = "s"}
  tile.online_softmax x(%v : vector) maximum(%f : fp) total(%f : fp) correction(%f : fp)
  tile.scale_rows x(%v : vector) factors(%f : fp) rows = 64 blocks = 2 block = 3 invert = 4 attributes {plena.step = "s"}
  tile.scale_rows x(%v : vector) factors(%f : fp)
  tile.normalize_rows kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) mask(%v : vector) rows = 64 blocks = 2 x_block = 3 out_block = 4 attributes {plena.step = "s"}
  tile.normalize_rows kind = "layer" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4
  tile.normalize_rows kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4
  tile.normalize_rows kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) mask(%v : vector)
  tile.normalize_lane_groups kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) masks(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 groups = 5 attributes {plena.step = "s"}
  tile.normalize_lane_groups kind = "layer" out(%v : vector) scratch(%v : vector) x(%v : vector) masks(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 groups = 5
  tile.normalize_lane_groups kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) masks(%v : vector) eps(%f : fp) inverse(%f : fp)
  tile.softmax_lane_groups x(%v : vector) scratch(%v : vector) hide(%v : vector) masks(%v : vector) floor(%f : fp) rows = 64 blocks = 2 block = 3 groups = 4 attributes {plena.step = "s"}
  tile.softmax_lane_groups x(%v : vector) scratch(%v : vector) hide(%v : vector) masks(%v : vector) floor(%f : fp)
  tile.reduce_rows kind = "sum" scalars(%f : fp) scratch(%v : vector) x(%v : vector) mask(%v : vector) floor(%f : fp) rows = 64 blocks = 2 block = 3 scalars_row = 4 attributes {plena.step = "s"}
  tile.reduce_rows kind = "max" scalars(%f : fp) scratch(%v : vector) x(%v : vector) rows = 64 blocks = 2 block = 3 scalars_row = 4
  tile.reduce_rows kind = "sum" scalars(%f : fp) scratch(%v : vector) x(%v : vector) rows = 64 blocks = 2 block = 3 scalars_row = 4
  tile.reduce_rows kind = "sum" scalars(%f : fp) scratch(%v : vector) x(%v : vector) mask(%v : vector) floor(%f : fp)
  tile.sum_rows out(%v : vector) scratch(%v : vector) x(%v : vector) rows = 64 blocks = 2 x_block = 3 out_block = 4 chunk = 5 attributes {plena.step = "s"}
  tile.sum_rows out(%v : vector) scratch(%v : vector) x(%v : vector)
  tile.max_rows out(%v : vector) scratch(%v : vector) x(%v : vector) scale(%f : fp) one(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 attributes {plena.step = "s"}
  tile.max_rows out(%v : vector) scratch(%v : vector) x(%v : vector) scale(%f : fp) one(%f : fp)
  tile.sqrt_rows out(%v : vector) scratch(%v : vector) x(%v : vector) half(%f : fp) most(%f : fp) least(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 steps = 5 attributes {plena.step = "s"}
  tile.sqrt_rows out(%v : vector) scratch(%v : vector) x(%v : vector) half(%f : fp) most(%f : fp)
  tile.shift out(%v : vector) x(%v : vector) rows = 64 blocks = 2 x_block = 3 out_block = 4 lanes = 5 attributes {plena.step = "s"}
  tile.shift out(%v : vector) x(%v : vector)
  tile.map_scalars kind = "add" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4 attributes {plena.step = "s"}
  tile.map_scalars kind = "sub" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "mul" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "max" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "exp" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "reciprocal" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "sqrt" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "copy" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "add" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
  tile.map_scalars kind = "add" out(%f : fp) a(%f : fp) b(%f : fp)
  tile.spread_scalars out(%v : vector) scratch(%v : vector) scalars(%f : fp) masks(%v : vector) rows = 64 groups = 2 scalars_row = 3 attributes {plena.step = "s"}
  tile.spread_scalars out(%v : vector) scalars(%f : fp) rows = 64 groups = 2 scalars_row = 3
  tile.spread_scalars out(%v : vector) scratch(%v : vector) scalars(%f : fp) masks(%v : vector)
  tile.topk ids(%i : int) weights(%f : fp) x(%v : vector) policy = 1 attributes {plena.step = "s"}
  tile.topk ids(%i : int) weights(%f : fp) x(%v : vector)
  tile.mark_lanes out(%v : vector) row(%f : fp) ids(%i : int) one(%f : fp) count = 4 blocks = 2 out_block = 3 first = 5 attributes {plena.step = "s"}
  tile.clear_ids ids(%i : int) count = 4
  tile.offset_ids ids(%i : int) x(%i : int) count = 4 offset = 5
  tile.look_up_ids ids(%i : int) positions(%i : int) table(%i : int) count = 4
  %id = tile.load_id ids(%i : int) attributes {plena.step = "s"}
  %there = tile.view %i[%id] : !tile.buffer<int>
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %h = tile.buffer @h [4096] : !tile.buffer<hbm>
// CHECK-NEXT:   %m = tile.buffer @m [4096] : !tile.buffer<matrix>
// CHECK-NEXT:   %v = tile.buffer @v [4096] : !tile.buffer<vector>
// CHECK-NEXT:   %f = tile.buffer @f [64] : !tile.buffer<fp>
// CHECK-NEXT:   %i = tile.buffer @i [64] : !tile.buffer<int>
// CHECK-NEXT:   tile.splat dst(%v : vector) values(%f : fp) rows = 64 dst_row = 2 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.splat dst(%v : vector) values(%f : fp)
// CHECK-NEXT:   tile.zero dst(%v : vector) rows = 64 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.zero dst(%v : vector)
// CHECK-NEXT:   tile.softmax_rows x(%v : vector) floor(%f : fp) scratch(%v : vector) rows = 64 blocks = 2 block = 3 sink = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.softmax_rows x(%v : vector) floor(%f : fp) rows = 64 blocks = 2 block = 3 sink = 4
// CHECK-NEXT:   tile.softmax_rows x(%v : vector) floor(%f : fp) scratch(%v : vector)
// CHECK-NEXT:   tile.reset_state maximum(%f : fp) total(%f : fp) floor(%f : fp) rows = 64 sink = 2 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.reset_state maximum(%f : fp) total(%f : fp) floor(%f : fp)
// CHECK-NEXT:   tile.online_softmax x(%v : vector) maximum(%f : fp) total(%f : fp) correction(%f : fp) rows = 64 blocks = 2 block = 3 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.online_softmax x(%v : vector) maximum(%f : fp) total(%f : fp) correction(%f : fp)
// CHECK-NEXT:   tile.scale_rows x(%v : vector) factors(%f : fp) rows = 64 blocks = 2 block = 3 invert = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.scale_rows x(%v : vector) factors(%f : fp)
// CHECK-NEXT:   tile.normalize_rows kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) mask(%v : vector) rows = 64 blocks = 2 x_block = 3 out_block = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.normalize_rows kind = "layer" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4
// CHECK-NEXT:   tile.normalize_rows kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4
// CHECK-NEXT:   tile.normalize_rows kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) eps(%f : fp) inverse(%f : fp) mask(%v : vector)
// CHECK-NEXT:   tile.normalize_lane_groups kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) masks(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 groups = 5 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.normalize_lane_groups kind = "layer" out(%v : vector) scratch(%v : vector) x(%v : vector) masks(%v : vector) eps(%f : fp) inverse(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 groups = 5
// CHECK-NEXT:   tile.normalize_lane_groups kind = "rms" out(%v : vector) scratch(%v : vector) x(%v : vector) masks(%v : vector) eps(%f : fp) inverse(%f : fp)
// CHECK-NEXT:   tile.softmax_lane_groups x(%v : vector) scratch(%v : vector) hide(%v : vector) masks(%v : vector) floor(%f : fp) rows = 64 blocks = 2 block = 3 groups = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.softmax_lane_groups x(%v : vector) scratch(%v : vector) hide(%v : vector) masks(%v : vector) floor(%f : fp)
// CHECK-NEXT:   tile.reduce_rows kind = "sum" scalars(%f : fp) scratch(%v : vector) x(%v : vector) mask(%v : vector) floor(%f : fp) rows = 64 blocks = 2 block = 3 scalars_row = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.reduce_rows kind = "max" scalars(%f : fp) scratch(%v : vector) x(%v : vector) rows = 64 blocks = 2 block = 3 scalars_row = 4
// CHECK-NEXT:   tile.reduce_rows kind = "sum" scalars(%f : fp) scratch(%v : vector) x(%v : vector) rows = 64 blocks = 2 block = 3 scalars_row = 4
// CHECK-NEXT:   tile.reduce_rows kind = "sum" scalars(%f : fp) scratch(%v : vector) x(%v : vector) mask(%v : vector) floor(%f : fp)
// CHECK-NEXT:   tile.sum_rows out(%v : vector) scratch(%v : vector) x(%v : vector) rows = 64 blocks = 2 x_block = 3 out_block = 4 chunk = 5 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.sum_rows out(%v : vector) scratch(%v : vector) x(%v : vector)
// CHECK-NEXT:   tile.max_rows out(%v : vector) scratch(%v : vector) x(%v : vector) scale(%f : fp) one(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.max_rows out(%v : vector) scratch(%v : vector) x(%v : vector) scale(%f : fp) one(%f : fp)
// CHECK-NEXT:   tile.sqrt_rows out(%v : vector) scratch(%v : vector) x(%v : vector) half(%f : fp) most(%f : fp) least(%f : fp) rows = 64 blocks = 2 x_block = 3 out_block = 4 steps = 5 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.sqrt_rows out(%v : vector) scratch(%v : vector) x(%v : vector) half(%f : fp) most(%f : fp)
// CHECK-NEXT:   tile.shift out(%v : vector) x(%v : vector) rows = 64 blocks = 2 x_block = 3 out_block = 4 lanes = 5 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.shift out(%v : vector) x(%v : vector)
// CHECK-NEXT:   tile.map_scalars kind = "add" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.map_scalars kind = "sub" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "mul" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "max" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "exp" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "reciprocal" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "sqrt" out(%f : fp) a(%f : fp) b(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "copy" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "add" out(%f : fp) a(%f : fp) count = 1 out_step = 2 a_step = 3 b_step = 4
// CHECK-NEXT:   tile.map_scalars kind = "add" out(%f : fp) a(%f : fp) b(%f : fp)
// CHECK-NEXT:   tile.spread_scalars out(%v : vector) scratch(%v : vector) scalars(%f : fp) masks(%v : vector) rows = 64 groups = 2 scalars_row = 3 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.spread_scalars out(%v : vector) scalars(%f : fp) rows = 64 groups = 2 scalars_row = 3
// CHECK-NEXT:   tile.spread_scalars out(%v : vector) scratch(%v : vector) scalars(%f : fp) masks(%v : vector)
// CHECK-NEXT:   tile.topk ids(%i : int) weights(%f : fp) x(%v : vector) policy = 1 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.topk ids(%i : int) weights(%f : fp) x(%v : vector)
// CHECK-NEXT:   tile.mark_lanes out(%v : vector) row(%f : fp) ids(%i : int) one(%f : fp) count = 4 blocks = 2 out_block = 3 first = 5 attributes {plena.step = "s"}
// CHECK-NEXT:   tile.clear_ids ids(%i : int) count = 4
// CHECK-NEXT:   tile.offset_ids ids(%i : int) x(%i : int) count = 4 offset = 5
// CHECK-NEXT:   tile.look_up_ids ids(%i : int) positions(%i : int) table(%i : int) count = 4
// CHECK-NEXT:   %id = tile.load_id ids(%i : int) attributes {plena.step = "s"}
// CHECK-NEXT:   %there = tile.view %i[%id] : !tile.buffer<int>
// CHECK-NEXT: }
