// Every lane walks its own row: params.lanes is 1, and no lane waits for another's sum. The lanes together load a few columns
// of all their rows into workgroup memory, where each reads its own row. The gradient is written the same way.

// Columns loaded at a time: one chain.
const STAGE: u32 = CHAIN;
// Words from row to row. The number is odd, so that lanes that read the same column use different memory banks.
const STAGE_STRIDE: u32 = STAGE + 1u;
const STAGE_ROWS: u32 = WORKGROUP / STAGE;

var<workgroup> stage: array<u32, WORKGROUP * STAGE_STRIDE>;

// Loads columns of the workgroup's rows from `start` on; the first row is lane 0's. Beyond the last row or column it loads
// the last one again, so that no load waits for a branch.
fn load_stage(place: Place, start: u32) {
    let first_row = place.row - place.lane;
    let own = place.lane % STAGE;
    let column = min(start + own, params.columns - 1u) + params.scores_shift;
    for (var i = 0u; i < STAGE; i++) {
        let row = i * STAGE_ROWS + place.lane / STAGE;
        stage[row * STAGE_STRIDE + own] = score_bits(min(first_row + row, params.samples - 1u) * params.columns + column);
    }
    workgroupBarrier();
}

fn stage_cell(place: Place, k: u32) -> u32 { return place.lane * STAGE_STRIDE + k; }

// Walks all columns in chains. Called by every lane of the workgroup.
fn walk(place: Place, sample: Sample) -> Row {
    var row = row_zero();
    var long_chain = row_zero();
    for (var start = 0u; start < params.columns; start += STAGE) {
        load_stage(place, start);
        if sample.kept {
            var chain = row_zero();
            for (var k = 0u; k < STAGE && start + k < params.columns; k++) {
                visit(start + k, stage[stage_cell(place, k)], sample, place.team, &chain);
            }
            long_chain = row_merge(long_chain, chain);
            if start / STAGE % CHAIN == CHAIN - 1u {
                row = row_merge(row, long_chain);
                long_chain = row_zero();
            }
        }
        workgroupBarrier();
    }
    return row_merge(row, long_chain);
}

// Called by every lane of the workgroup.
fn write_gradient(place: Place, sample: Sample, row: Row, best: Penalised, undefined: bool) {
    let coefficient = real_divide(gradient_coefficient(sample.weight), params.sample_divisor);
    let first_row = place.row - place.lane;
    let own = place.lane % STAGE;
    for (var start = 0u; start < params.columns; start += STAGE) {
        // A short row's columns are still in workgroup memory.
        if params.columns > STAGE { load_stage(place, start); }
        for (var k = 0u; k < STAGE && start + k < params.columns; k++) {
            let score = real_from_bits(stage[stage_cell(place, k)]);
            let slope = written_slope(start + k, score, sample, row, best, undefined, coefficient);
            stage[stage_cell(place, k)] = real_to_bits(slope);
        }
        workgroupBarrier();
        let column = start + own;
        for (var i = 0u; i < STAGE; i++) {
            let row = i * STAGE_ROWS + place.lane / STAGE;
            if first_row + row < params.samples && column < params.columns {
                let element = (first_row + row) * params.columns + column;
                gradient[element + params.gradient_shift] = stage[row * STAGE_STRIDE + own];
            }
        }
        workgroupBarrier();
    }
}
