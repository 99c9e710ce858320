// Keras's BinaryAccuracy with threshold 0.5: how many targets equal 1 where the score is above it, and 0 elsewhere.

var<workgroup> total: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane == 0u { atomicStore(&total, 0u); }
    workgroupBarrier();
    var own = 0u;
    for (var i = lane; i < params.count; i += 256u) {
        own += u32(targets[i] == select(0.0, 1.0, scores[i] > 0.5));
    }
    atomicAdd(&total, own);
    workgroupBarrier();
    if lane == 0u { right[0] = atomicLoad(&total); }
}
