//! What vectors look up to put the set ones of eight lanes one after the other, and back.

/// Lanes of a wide vector, and of one half as wide.
pub(crate) const LANE: usize = 16;
pub(crate) const EIGHT: usize = LANE / 2;

/// For each mask of eight lanes the set ones in order, and then the first.
pub(crate) static LANES_OF: [[u32; EIGHT]; 256] = {
    let (mut table, mut mask) = ([[0; EIGHT]; 256], 0);
    while mask < table.len() {
        let (mut lane, mut count) = (0, 0);
        while lane < EIGHT {
            if mask >> lane & 1 == 1 {
                table[mask][count] = lane as u32;
                count += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// The same as bytes.
pub(crate) static BYTES_OF: [[u8; EIGHT]; 256] = {
    let (mut table, mut mask) = ([[0; EIGHT]; 256], 0);
    while mask < table.len() {
        let mut place = 0;
        while place < EIGHT {
            table[mask][place] = LANES_OF[mask][place] as u8;
            place += 1;
        }
        mask += 1;
    }
    table
};

/// The same of halves: the numbers of both bytes.
pub(crate) static HALVES_OF: [[[u8; 2]; EIGHT]; 256] = {
    let (mut table, mut mask) = ([[[0, 1]; EIGHT]; 256], 0);
    while mask < table.len() {
        let mut place = 0;
        while place < EIGHT {
            let half = BYTES_OF[mask][place];
            table[mask][place] = [2 * half, 2 * half + 1];
            place += 1;
        }
        mask += 1;
    }
    table
};

/// For each mask of eight lanes, how many lanes before each of them are set: as the numbers of both bytes of a half.
pub(crate) static RANKS: [[[u8; 2]; EIGHT]; 256] = {
    let mut table = [[[0, 1]; EIGHT]; 256];
    let (mut mask, mut lane) = (0, 1);
    while mask < 256 {
        let rank = table[mask][lane - 1][0] + 2 * (mask >> (lane - 1) & 1) as u8;
        table[mask][lane] = [rank, rank + 1];
        lane += 1;
        if lane == EIGHT {
            (mask, lane) = (mask + 1, 1);
        }
    }
    table
};
