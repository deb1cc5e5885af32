/*
 * MOE_CLONES before a function compiles it once for each instruction set, and the
 * loader picks; where compiler or system cannot, once. The results are the same
 * to the last bit: no multiply-add is contracted, and sums have fixed lanes.
 */
#ifndef MOE_ENGINE_BASE_CLONES_H
#define MOE_ENGINE_BASE_CLONES_H

#ifdef MOE_TARGET_CLONES
#define MOE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MOE_CLONES
#endif

#endif
