// RUN: plena-opt %s --pass-pipeline materialize-addresses --split-input-file | filecheck %s

// The write-out shares the pointer of the activations: their difference is an immediate.

// CHECK:      loop.for %i = 0 to 16 counter(%{{.*}} : !plena_isa.gp) {
// CHECK-NEXT:   plena_isa.m_mm mat(%{{.*}} : !plena_isa.gp<gp0>) vec(%[[P:.*]] : !plena_isa.gp)
// CHECK-NEXT:   plena_isa.m_mm_wo dst(%[[P]] : !plena_isa.gp) stride(%{{.*}} : !plena_isa.gp<gp0>) imm = 8192
// CHECK-NEXT:   plena_isa.s_addi_int dst(%[[P]] : !plena_isa.gp) a(%[[P]] : !plena_isa.gp) imm = 256
// CHECK-NEXT: }
builtin.module {
  %z = plena_isa.register : !plena_isa.gp<gp0>
  loop.for %i = 0 to 16 {
    %w = loop.affine 0
    %x = loop.affine 4096 + 256 * %i
    %y = loop.affine 12288 + 256 * %i
    plena_isa.m_mm mat(%w) vec(%x)
    plena_isa.m_mm_wo dst(%y) stride(%z : !plena_isa.gp<gp0>)
  }
}

// -----

// A contiguous walk over two loops needs no reset, one step down needs one subtraction outside the inner loop.

// CHECK:      loop.for %i = 0 to 4 counter(%{{.*}} : !plena_isa.gp) {
// CHECK-NEXT:   loop.for %j = 0 to 8 counter(%{{.*}} : !plena_isa.gp) {
// CHECK-NEXT:     plena_isa.v_add_vv dst(%[[A:.*]] : !plena_isa.gp) a(%[[A]] : !plena_isa.gp) b(%[[B:.*]] : !plena_isa.gp)
// CHECK-NEXT:     plena_isa.s_addi_int dst(%[[A]] : !plena_isa.gp) a(%[[A]] : !plena_isa.gp) imm = 64
// CHECK-NEXT:     plena_isa.s_addi_int dst(%[[B]] : !plena_isa.gp) a(%[[B]] : !plena_isa.gp) imm = 64
// CHECK-NEXT:   }
// CHECK-NEXT:   plena_isa.s_sub_int dst(%[[B]] : !plena_isa.gp) a(%[[B]] : !plena_isa.gp) b(%{{.*}} : !plena_isa.gp)
// CHECK-NEXT: }
builtin.module {
  loop.for %i = 0 to 4 {
    loop.for %j = 0 to 8 {
      %a = loop.affine 65536 + 512 * %i + 64 * %j
      %b = loop.affine 32768 + 64 * %i + 64 * %j
      plena_isa.v_add_vv dst(%a) a(%a) b(%b)
    }
  }
}

// -----

// A number loaded at run time enters an address by a product and a sum.

// CHECK:      plena_isa.s_ld_int dst(%[[ID:.*]] : !plena_isa.gp) base(%{{.*}} : !plena_isa.gp<gp0>) imm = 7
// CHECK:      plena_isa.s_mul_int dst(%[[OFF:.*]] : !plena_isa.gp) a(%[[ID]] : !plena_isa.gp) b(%{{.*}} : !plena_isa.gp)
// CHECK:      plena_isa.v_exp_v
builtin.module {
  %seven = loop.affine 7
  %id = plena_isa.s_ld_int base(%seven)
  loop.for %i = 0 to 4 {
    %row = loop.affine 64 + 4096 * %id + 64 * %i
    plena_isa.v_exp_v dst(%row) a(%row)
  }
}

// -----

// Numbers of 32 bits take both halves, once; the pitch of M_MM_WO is gp0 for 1, another register holding 0 for 0.

// CHECK:      plena_isa.s_lui_int dst(%[[BIG:.*]] : !plena_isa.gp) imm = 32768
// CHECK-NEXT: plena_isa.s_addi_int dst(%[[BIG]] : !plena_isa.gp) a(%[[BIG]] : !plena_isa.gp) imm = 64
// CHECK:      plena_isa.v_exp_v
// CHECK:      plena_isa.m_mm_wo dst(%{{.*}} : !plena_isa.gp) stride(%{{.*}} : !plena_isa.gp<gp0>)
// CHECK:      plena_isa.s_lui_int dst(%[[NIL:.*]] : !plena_isa.gp)
// CHECK:      plena_isa.m_mm_wo dst(%{{.*}} : !plena_isa.gp) stride(%[[NIL]] : !plena_isa.gp)
builtin.module {
  %big = loop.affine 134217792
  %one = loop.affine 1
  %nil = loop.affine 0
  plena_isa.v_exp_v dst(%big) a(%big)
  plena_isa.m_mm_wo dst(%big) stride(%one)
  plena_isa.m_mm_wo dst(%big) stride(%nil)
}
