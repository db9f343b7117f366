// RUN: plena-opt %s -p guard-hazards -t plena-asm | filecheck %s

// A product whose rows are still in the vector unit waits for it; the first vector instruction behind a write-out may
// not write another row than it reads; the last write-out is waited for, and the program ends.
builtin.module {
  %z = plena_isa.register : !plena_isa.gp<gp0>
  %p = plena_isa.register : !plena_isa.gp<gp1>
  %q = plena_isa.register : !plena_isa.gp<gp2>
  %c = plena_isa.register : !plena_isa.gp<gp3>
  loop.for %i = 0 to 4 counter(%c : !plena_isa.gp<gp3>) {
    plena_isa.v_add_vv dst(%p : !plena_isa.gp<gp1>) a(%q : !plena_isa.gp<gp2>) b(%z : !plena_isa.gp<gp0>)
    plena_isa.m_mm mat(%z : !plena_isa.gp<gp0>) vec(%p : !plena_isa.gp<gp1>)
    plena_isa.m_mm_wo dst(%p : !plena_isa.gp<gp1>) stride(%z : !plena_isa.gp<gp0>)
  }
}
// CHECK:      C_LOOP_START gp3, 4
// CHECK-NEXT: V_SUB_VF gp0, gp0, f0, 0, 0
// CHECK-NEXT: V_ADD_VV gp1, gp2, gp0, 0
// CHECK-NEXT: S_ADDI_INT gp0, gp0, 0
// CHECK-NEXT: S_ADDI_INT gp0, gp0, 0
// CHECK-NEXT: M_MM 0, gp0, gp1
// CHECK-NEXT: M_MM_WO gp1, gp0, 0
// CHECK-NEXT: S_ADDI_INT gp0, gp0, 0
// CHECK-NEXT: C_LOOP_END gp3
// CHECK-NEXT: V_SUB_VF gp0, gp0, f0, 0, 0
// CHECK-NEXT: S_ADDI_INT gp0, gp0, 0
// CHECK-NEXT: S_ADDI_INT gp0, gp0, 0
// CHECK-NEXT: C_BREAK
