// RUN: plena-opt %s --pass-pipeline "unroll-and-jam{factor=4}" | filecheck %s

loop.for %i = 0 to 10 {
  loop.for %j = 0 to 8 {
    %x = loop.affine 0 + 512 * %i + 64 * %j
    plena_isa.v_exp_v dst(%x) a(%x)
  }
}
// CHECK:      loop.for %i = 0 to 2 {
// CHECK-NEXT:   loop.for %j = 0 to 8 {
// CHECK-NEXT:     loop.affine 0 + 2048 * %i + 64 * %j
// CHECK:          loop.affine 512 + 2048 * %i + 64 * %j
// CHECK:          loop.affine 1024 + 2048 * %i + 64 * %j
// CHECK:          loop.affine 1536 + 2048 * %i + 64 * %j
// CHECK:      loop.for %{{.*}} = 0 to 2 {
// CHECK-NEXT:   loop.for %{{.*}} = 0 to 8 {
// CHECK-NEXT:     loop.affine 4096 + 512 * %{{.*}} + 64 * %{{.*}}
