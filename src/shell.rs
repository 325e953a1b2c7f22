//! Paths in commands that messages tell people to copy.

use std::path::Path;

/// A path as a shell takes it for one word: between quotes where it has blanks or other letters that a shell reads.
pub fn word(path: impl AsRef<Path>) -> String {
    let text = path.as_ref().display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "_@%+=:,./-".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_stands_between_quotes() {
        for plain in ["/mnt/em", "/mnt/é/a_b-c.d", "rel/x"] {
            assert_eq!(word(plain), plain);
        }
        for (path, quoted) in
            [("/mnt/my em", "'/mnt/my em'"), ("/m/it's", r"'/m/it'\''s'"), ("$HOME", "'$HOME'"), ("", "''")]
        {
            assert_eq!(word(path), quoted);
        }
    }
}
