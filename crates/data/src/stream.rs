use crate::Tokenizer;

/// Text from token ids that come one by one, as a model writes it: a character is handed out once all its bytes are there.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The ids of the newest piece that was handed out, by which some tokenizers choose blanks, and those that came since.
    ids: Vec<u32>,
    /// How many of them were handed out.
    old: usize,
}

impl<'a> TextStream<'a> {
    /// A stream at the beginning of a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, ids: Vec::new(), old: 0 }
    }

    /// The text that is certain with one more id: nothing while a character is incomplete.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let text = self.new_text();
        let incomplete = match self.tokenizer {
            Tokenizer::Bytes => is_cut(&self.ids[self.old..]),
            Tokenizer::File(_) => {
                text.ends_with(char::REPLACEMENT_CHARACTER) && self.ids.len() - self.old < IDS_OF_CHARACTER_MAX
            }
        };
        if incomplete {
            return String::new();
        }
        self.ids.drain(..self.old);
        self.old = self.ids.len();
        text
    }

    /// What is left at the end; an incomplete character becomes U+FFFD.
    pub fn finish(self) -> String {
        self.new_text()
    }

    fn new_text(&self) -> String {
        let known = self.tokenizer.decode(&self.ids[..self.old]);
        let text = self.tokenizer.decode(&self.ids);
        text.strip_prefix(&known).unwrap_or_default().to_owned()
    }
}

/// Whether the bytes end within a character.
fn is_cut(ids: &[u32]) -> bool {
    let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    str::from_utf8(last).is_err_and(|error| error.error_len().is_none())
}

/// A character of UTF-8 has at most four bytes, and so ids; what is not whole by then is no character.
const IDS_OF_CHARACTER_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::WORDS;
    use proptest::prelude::*;

    fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        let mut stream = TextStream::new(tokenizer);
        let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
        pieces.push(stream.finish());
        pieces
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_text(text in "[^\0]{0,60}") {
            let ids: Vec<u32> = text.bytes().map(u32::from).collect();
            prop_assert_eq!(streamed(&Tokenizer::Bytes, &ids).concat(), text);
        }

        #[test]
        fn any_ids_end(ids in prop::collection::vec(0_u32..300, 0..60)) {
            let pieces = streamed(&Tokenizer::Bytes, &ids);
            prop_assert_eq!(pieces.len(), ids.len() + 1);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= 3 * ids.len().max(1)), "{:?}", pieces);
        }
    }

    #[test]
    fn a_character_comes_whole() {
        let ids: Vec<u32> = "a\u{e4}\u{1f600}".bytes().map(u32::from).collect();
        assert_eq!(streamed(&Tokenizer::Bytes, &ids), ["a", "", "\u{e4}", "", "", "", "\u{1f600}", ""]);
        assert_eq!(streamed(&Tokenizer::Bytes, &ids[..2]), ["a", "", "\u{fffd}"]);
    }

    #[test]
    fn blanks_between_words_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.json"), WORDS).unwrap();
        let tokenizer = Tokenizer::open(&folder.path().join("t.json")).unwrap();
        let ids = [1, 2, 3, 4, 1, 2, 5];
        assert_eq!(streamed(&tokenizer, &ids).concat(), tokenizer.decode(&ids));
        assert_eq!(streamed(&tokenizer, &ids)[..3], ["to", " be", " or"]);
    }
}
