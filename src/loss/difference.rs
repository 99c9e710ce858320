//! In which option two losses differ, in words for a message.

/// A variant's name as options write it: PlusMinusOne is plus-minus-one.
pub(crate) fn dashed(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && text.ends_with(char::is_alphanumeric) {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// The first option in which the texts of two losses of one kind differ, in plain words.
pub(crate) fn first_difference(own: &str, saved: &str) -> (String, String) {
    let options = |text: &str| -> Vec<String> { text.split([',', '{', '}']).map(|part| part.trim().into()).collect() };
    let (own, saved) = (options(own), options(saved));
    let is_plain = |option: &String| !option.contains(['(', ')', '[', ']']);
    let words = |option: &String| dashed(&option.replace(':', ""));
    match own.iter().zip(&saved).find(|(own, saved)| own != saved) {
        Some((own, saved)) if is_plain(own) && is_plain(saved) => (words(own), words(saved)),
        _ => ("the same options".into(), "one with others".into()),
    }
}
