// RUN: PLENA_ROUNDTRIP

// The matrix instructions in register form, immediates and flags at their limits.

builtin.module {
  %0 = plena_isa.register : !plena_isa.gp<gp1>
  %1 = plena_isa.register : !plena_isa.gp<gp2>
  %2 = plena_isa.register : !plena_isa.gp<gp3>
  plena_isa.m_mm mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
  plena_isa.m_tmm vec(%0 : !plena_isa.gp<gp1>) mat(%1 : !plena_isa.gp<gp2>)
  plena_isa.m_bmm mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
  plena_isa.m_btmm mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
  plena_isa.m_bmm_wo dst(%0 : !plena_isa.gp<gp1>) imm = 262143
  plena_isa.m_mm_wo dst(%0 : !plena_isa.gp<gp1>) stride(%1 : !plena_isa.gp<gp2>) imm = 262143
  plena_isa.m_mv mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
  plena_isa.m_tmv mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
  plena_isa.m_bmv off(%0 : !plena_isa.gp<gp1>) mat(%1 : !plena_isa.gp<gp2>) vec(%2 : !plena_isa.gp<gp3>)
  plena_isa.m_btmv off(%0 : !plena_isa.gp<gp1>) mat(%1 : !plena_isa.gp<gp2>) vec(%2 : !plena_isa.gp<gp3>)
  plena_isa.m_mv_wo dst(%0 : !plena_isa.gp<gp1>) imm = 262143
  plena_isa.m_bmv_wo dst(%0 : !plena_isa.gp<gp1>) imm = 262143
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.gp<gp1>
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.gp<gp2>
// CHECK-NEXT:   %2 = plena_isa.register : !plena_isa.gp<gp3>
// CHECK-NEXT:   plena_isa.m_mm mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
// CHECK-NEXT:   plena_isa.m_tmm vec(%0 : !plena_isa.gp<gp1>) mat(%1 : !plena_isa.gp<gp2>)
// CHECK-NEXT:   plena_isa.m_bmm mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
// CHECK-NEXT:   plena_isa.m_btmm mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
// CHECK-NEXT:   plena_isa.m_bmm_wo dst(%0 : !plena_isa.gp<gp1>) imm = 262143
// CHECK-NEXT:   plena_isa.m_mm_wo dst(%0 : !plena_isa.gp<gp1>) stride(%1 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT:   plena_isa.m_mv mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
// CHECK-NEXT:   plena_isa.m_tmv mat(%0 : !plena_isa.gp<gp1>) vec(%1 : !plena_isa.gp<gp2>)
// CHECK-NEXT:   plena_isa.m_bmv off(%0 : !plena_isa.gp<gp1>) mat(%1 : !plena_isa.gp<gp2>) vec(%2 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.m_btmv off(%0 : !plena_isa.gp<gp1>) mat(%1 : !plena_isa.gp<gp2>) vec(%2 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.m_mv_wo dst(%0 : !plena_isa.gp<gp1>) imm = 262143
// CHECK-NEXT:   plena_isa.m_bmv_wo dst(%0 : !plena_isa.gp<gp1>) imm = 262143
// CHECK-NEXT: }
