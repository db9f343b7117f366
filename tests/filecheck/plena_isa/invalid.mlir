// RUN: plena-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: S_ADDI_INT: imm = 262144 does not fit 18 unsigned bits
%g = plena_isa.register : !plena_isa.gp<gp1>
plena_isa.s_addi_int dst(%g : !plena_isa.gp<gp1>) a(%g : !plena_isa.gp<gp1>) imm = 262144

// -----

// CHECK: V_ADD_VF: b must be of kind f
%z = loop.affine 0
%g = plena_isa.register : !plena_isa.gp
plena_isa.v_add_vf dst(%z) a(%z) b(%g : !plena_isa.gp)

// -----

// CHECK: S_ADDI_INT: dst must be a register cell
%z = loop.affine 0
%g = plena_isa.register : !plena_isa.gp
plena_isa.s_addi_int dst(%z) a(%g : !plena_isa.gp)

// -----

// CHECK: plena_isa.m_mm needs vec
%z = loop.affine 0
plena_isa.m_mm mat(%z)

// -----

// CHECK: mat given twice
%z = loop.affine 0
plena_isa.m_mm mat(%z) mat(%z)

// -----

// CHECK: gp16
%g = plena_isa.register : !plena_isa.gp<gp16>
