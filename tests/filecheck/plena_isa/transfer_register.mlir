// RUN: PLENA_ROUNDTRIP

// The transfer instructions in register form, immediates and flags at their limits.

builtin.module {
  %0 = plena_isa.register : !plena_isa.gp<gp1>
  %1 = plena_isa.register : !plena_isa.gp<gp2>
  %2 = plena_isa.register : !plena_isa.a<a3>
  plena_isa.h_prefetch_m dst(%0 : !plena_isa.gp<gp1>) off(%1 : !plena_isa.gp<gp2>) base(%2 : !plena_isa.a<a3>) rstride = 1 precision = 1
  plena_isa.h_prefetch_v dst(%0 : !plena_isa.gp<gp1>) off(%1 : !plena_isa.gp<gp2>) base(%2 : !plena_isa.a<a3>) rstride = 1 precision = 1
  plena_isa.h_store_v src(%0 : !plena_isa.gp<gp1>) off(%1 : !plena_isa.gp<gp2>) base(%2 : !plena_isa.a<a3>) rstride = 1 precision = 1
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.gp<gp1>
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.gp<gp2>
// CHECK-NEXT:   %2 = plena_isa.register : !plena_isa.a<a3>
// CHECK-NEXT:   plena_isa.h_prefetch_m dst(%0 : !plena_isa.gp<gp1>) off(%1 : !plena_isa.gp<gp2>) base(%2 : !plena_isa.a<a3>) rstride = 1 precision = 1
// CHECK-NEXT:   plena_isa.h_prefetch_v dst(%0 : !plena_isa.gp<gp1>) off(%1 : !plena_isa.gp<gp2>) base(%2 : !plena_isa.a<a3>) rstride = 1 precision = 1
// CHECK-NEXT:   plena_isa.h_store_v src(%0 : !plena_isa.gp<gp1>) off(%1 : !plena_isa.gp<gp2>) base(%2 : !plena_isa.a<a3>) rstride = 1 precision = 1
// CHECK-NEXT: }
