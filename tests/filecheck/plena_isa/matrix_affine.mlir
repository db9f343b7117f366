// RUN: PLENA_ROUNDTRIP

// The matrix instructions in affine form, without and with sticky state, immediates and flags.

builtin.module {
  loop.for %0 = 0 to 4 {
    %1 = loop.affine 128 + 36 * %0
    %2 = loop.affine 192 + 52 * %0
    %3 = loop.affine 256 + 68 * %0
    plena_isa.m_mm mat(%1) vec(%2)
    plena_isa.m_mm mat(%1) vec(%2)
    plena_isa.m_tmm vec(%1) mat(%2)
    plena_isa.m_tmm vec(%1) mat(%2)
    plena_isa.m_bmm mat(%1) vec(%2)
    plena_isa.m_bmm mat(%1) vec(%2)
    plena_isa.m_btmm mat(%1) vec(%2)
    plena_isa.m_btmm mat(%1) vec(%2)
    plena_isa.m_bmm_wo dst(%1)
    plena_isa.m_bmm_wo dst(%1) imm = 5
    plena_isa.m_mm_wo dst(%1) stride(%2)
    plena_isa.m_mm_wo dst(%1) stride(%2) imm = 5
    plena_isa.m_mv mat(%1) vec(%2)
    plena_isa.m_mv mat(%1) vec(%2)
    plena_isa.m_tmv mat(%1) vec(%2)
    plena_isa.m_tmv mat(%1) vec(%2)
    plena_isa.m_bmv off(%1) mat(%2) vec(%3)
    plena_isa.m_bmv off(%1) mat(%2) vec(%3)
    plena_isa.m_btmv off(%1) mat(%2) vec(%3)
    plena_isa.m_btmv off(%1) mat(%2) vec(%3)
    plena_isa.m_mv_wo dst(%1)
    plena_isa.m_mv_wo dst(%1) imm = 5
    plena_isa.m_bmv_wo dst(%1)
    plena_isa.m_bmv_wo dst(%1) imm = 5
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   loop.for %0 = 0 to 4 {
// CHECK-NEXT:     %1 = loop.affine 128 + 36 * %0
// CHECK-NEXT:     %2 = loop.affine 192 + 52 * %0
// CHECK-NEXT:     %3 = loop.affine 256 + 68 * %0
// CHECK-NEXT:     plena_isa.m_mm mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_mm mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_tmm vec(%1) mat(%2)
// CHECK-NEXT:     plena_isa.m_tmm vec(%1) mat(%2)
// CHECK-NEXT:     plena_isa.m_bmm mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_bmm mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_btmm mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_btmm mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_bmm_wo dst(%1)
// CHECK-NEXT:     plena_isa.m_bmm_wo dst(%1) imm = 5
// CHECK-NEXT:     plena_isa.m_mm_wo dst(%1) stride(%2)
// CHECK-NEXT:     plena_isa.m_mm_wo dst(%1) stride(%2) imm = 5
// CHECK-NEXT:     plena_isa.m_mv mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_mv mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_tmv mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_tmv mat(%1) vec(%2)
// CHECK-NEXT:     plena_isa.m_bmv off(%1) mat(%2) vec(%3)
// CHECK-NEXT:     plena_isa.m_bmv off(%1) mat(%2) vec(%3)
// CHECK-NEXT:     plena_isa.m_btmv off(%1) mat(%2) vec(%3)
// CHECK-NEXT:     plena_isa.m_btmv off(%1) mat(%2) vec(%3)
// CHECK-NEXT:     plena_isa.m_mv_wo dst(%1)
// CHECK-NEXT:     plena_isa.m_mv_wo dst(%1) imm = 5
// CHECK-NEXT:     plena_isa.m_bmv_wo dst(%1)
// CHECK-NEXT:     plena_isa.m_bmv_wo dst(%1) imm = 5
// CHECK-NEXT:   }
// CHECK-NEXT: }
