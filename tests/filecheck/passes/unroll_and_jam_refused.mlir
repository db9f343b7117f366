// RUN: not plena-opt %s --pass-pipeline "unroll-and-jam{factor=4}" 2>&1 | filecheck %s

// Row i is summed over j into row i - 1: two rows cannot advance together.
loop.for %i = 0 to 8 {
  loop.for %j = 0 to 8 {
    %to = loop.affine 0 + 64 * %i
    %from = loop.affine 64 + 64 * %i
    plena_isa.v_add_vv dst(%to) a(%to) b(%from)
  }
}
// CHECK: loop 0: jamming 4 iterations would change the result
