// RUN: plena-opt %s -t plena-asm | filecheck %s
// RUN: plena-opt %s -t plena-words | filecheck %s --check-prefix=WORD

// A structured loop with its counter cell is printed as the hardware loop.

%z = plena_isa.register : !plena_isa.gp<gp0>
%c = plena_isa.register : !plena_isa.gp<gp3>
%a = plena_isa.register : !plena_isa.gp<gp4>
loop.for %i = 0 to 5 counter(%c : !plena_isa.gp<gp3>) {
  plena_isa.m_mm mat(%a : !plena_isa.gp<gp4>) vec(%a : !plena_isa.gp<gp4>)
  plena_isa.s_addi_int dst(%a : !plena_isa.gp<gp4>) a(%a : !plena_isa.gp<gp4>) imm = 256
}
plena_isa.m_mm_wo dst(%a : !plena_isa.gp<gp4>) stride(%z : !plena_isa.gp<gp0>) imm = 4

// CHECK:      C_LOOP_START gp3, 5
// CHECK-NEXT: M_MM 0, gp4, gp4
// CHECK-NEXT: S_ADDI_INT gp4, gp4, 256
// CHECK-NEXT: C_LOOP_END gp3
// CHECK-NEXT: M_MM_WO gp4, gp0, 4

// WORD:      0x000014EF
// WORD-NEXT: 0x00011001
// WORD-NEXT: 0x00401122
// WORD-NEXT: 0x000000F0
// WORD-NEXT: 0x00010106
