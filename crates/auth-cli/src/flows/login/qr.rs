//! QR codes for addresses (ISO/IEC 18004), drawn with half blocks.

use qrcode::{Color, EcLevel, QrCode};

/// The lines of the code. It is dark on light in any color scheme, because it includes a light
/// frame. `None` if it would not fit into `width` columns.
pub(crate) fn lines(address: &str, width: usize) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(address, EcLevel::L).ok()?;
    let side = code.width();
    if side + 2 * QUIET > width {
        return None;
    }
    let colors = code.to_colors();
    let is_light = |row: usize, column: usize| {
        let inside = |place: usize| place.checked_sub(QUIET).filter(|place| *place < side);
        match (inside(row), inside(column)) {
            (Some(row), Some(column)) => {
                colors.get(row * side + column).is_some_and(|color| *color == Color::Light)
            }
            _ => true,
        }
    };
    let whole = side + 2 * QUIET;
    let line = |row: usize| {
        let cell =
            |column| match (is_light(row, column), row + 1 < whole && is_light(row + 1, column)) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            };
        (0..whole).map(cell).collect::<String>()
    };
    Some((0..whole).step_by(2).map(line).collect())
}

/// The light frame: two modules are enough for cameras, and four make it too wide for terminals.
const QUIET: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_square_with_a_frame_that_fits_or_is_not_drawn() {
        let lines = lines("https://login.example/device?code=ABCD-EFGH", 80).unwrap();
        let columns = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == columns));
        assert_eq!(lines.len(), columns.div_ceil(2));
        assert!(lines[0].chars().all(|cell| cell == '\u{2588}'), "{}", lines[0]);
        // The corner of every code: seven dark modules in a row.
        assert_eq!(
            lines[1].chars().skip(2).take(7).collect::<String>(),
            " \u{2584}\u{2584}\u{2584}\u{2584}\u{2584} "
        );
        assert_eq!(super::lines("https://login.example/device?code=ABCD-EFGH", columns - 1), None);
        assert_eq!(super::lines(&"x".repeat(5_000), 10_000), None);
    }
}
