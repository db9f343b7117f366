// RUN: PLENA_ROUNDTRIP

// The transfer instructions in affine form, without and with sticky state, immediates and flags.

builtin.module {
  %0 = plena_isa.register : !plena_isa.a
  loop.for %1 = 0 to 4 {
    %2 = loop.affine 128 + 36 * %1
    %3 = loop.affine 192 + 52 * %1
    %4 = loop.affine 256 + 68 * %1
    %5 = loop.affine 320 + 84 * %1
    %6 = loop.affine 384 + 100 * %1
    plena_isa.h_prefetch_m dst(%2) off(%3) base(%0 : !plena_isa.a)
    plena_isa.h_prefetch_m dst(%2) off(%3) base(%4) scale(%5) stride(%6) rstride = 1 precision = 1
    plena_isa.h_prefetch_v dst(%2) off(%3) base(%0 : !plena_isa.a)
    plena_isa.h_prefetch_v dst(%2) off(%3) base(%4) scale(%5) stride(%6) rstride = 1 precision = 1
    plena_isa.h_store_v src(%2) off(%3) base(%0 : !plena_isa.a)
    plena_isa.h_store_v src(%2) off(%3) base(%4) scale(%5) stride(%6) rstride = 1 precision = 1
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.a
// CHECK-NEXT:   loop.for %1 = 0 to 4 {
// CHECK-NEXT:     %2 = loop.affine 128 + 36 * %1
// CHECK-NEXT:     %3 = loop.affine 192 + 52 * %1
// CHECK-NEXT:     %4 = loop.affine 256 + 68 * %1
// CHECK-NEXT:     %5 = loop.affine 320 + 84 * %1
// CHECK-NEXT:     %6 = loop.affine 384 + 100 * %1
// CHECK-NEXT:     plena_isa.h_prefetch_m dst(%2) off(%3) base(%0 : !plena_isa.a)
// CHECK-NEXT:     plena_isa.h_prefetch_m dst(%2) off(%3) base(%4) scale(%5) stride(%6) rstride = 1 precision = 1
// CHECK-NEXT:     plena_isa.h_prefetch_v dst(%2) off(%3) base(%0 : !plena_isa.a)
// CHECK-NEXT:     plena_isa.h_prefetch_v dst(%2) off(%3) base(%4) scale(%5) stride(%6) rstride = 1 precision = 1
// CHECK-NEXT:     plena_isa.h_store_v src(%2) off(%3) base(%0 : !plena_isa.a)
// CHECK-NEXT:     plena_isa.h_store_v src(%2) off(%3) base(%4) scale(%5) stride(%6) rstride = 1 precision = 1
// CHECK-NEXT:   }
// CHECK-NEXT: }
