// RUN: plena-opt %s --pass-pipeline set-state | filecheck %s

// One scale for all transfers: set once. Two strides in turn: set where they change. A base of 0 is a0, the others get
// registers of their own, the one beyond 4 GiB both words.

// CHECK:      builtin.module {
// CHECK-DAG:    plena_isa.register : !plena_isa.a<a0>
// CHECK-DAG:    plena_isa.register : !plena_isa.a<a1>
// CHECK:        %[[SCALE:.*]] = loop.affine 16384
// CHECK-NEXT:   plena_isa.c_set_scale_reg src(%[[SCALE]])
// CHECK-NEXT:   %[[STRIDE:.*]] = loop.affine 64
// CHECK-NEXT:   plena_isa.c_set_stride_reg src(%[[STRIDE]])
// CHECK-NEXT:   %[[HI:.*]] = loop.affine 2
// CHECK-NEXT:   %[[LO:.*]] = loop.affine 64
// CHECK-NEXT:   plena_isa.c_set_addr_reg dst(%{{.*}} : !plena_isa.a<a1>) hi(%[[HI]]) lo(%[[LO]])
// CHECK-NEXT:   loop.for %i = 0 to 4 {
// CHECK-NEXT:     %dst = loop.affine 0 + 4096 * %i
// CHECK-NEXT:     plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%{{.*}} : !plena_isa.a<a0>) rstride = 1
// CHECK-NEXT:     %[[WIDE:.*]] = loop.affine 128
// CHECK-NEXT:     plena_isa.c_set_stride_reg src(%[[WIDE]])
// CHECK-NEXT:     plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%{{.*}} : !plena_isa.a<a1>) rstride = 1
// CHECK-NEXT:     %[[NARROW:.*]] = loop.affine 64
// CHECK-NEXT:     plena_isa.c_set_stride_reg src(%[[NARROW]])
// CHECK-NEXT:     plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%{{.*}} : !plena_isa.a<a1>) rstride = 1
// CHECK-NEXT:   }
builtin.module {
  loop.for %i = 0 to 4 {
    %dst = loop.affine 0 + 4096 * %i
    %zero = loop.affine 0
    %far = loop.affine 8589934656
    %scale = loop.affine 16384
    %narrow = loop.affine 64
    %wide = loop.affine 128
    plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%zero) scale(%scale) stride(%narrow) rstride = 1
    plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%far) scale(%scale) stride(%wide) rstride = 1
    plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%far) scale(%scale) stride(%narrow) rstride = 1
  }
}
