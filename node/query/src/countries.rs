//! English short names of ISO 3166-1 countries.

/// One line for each country: `DE Germany`, sorted by code.
const COUNTRIES: &str = include_str!("countries.txt");

/// The name of a country by its alpha-2 code.
pub(crate) fn country_name(code: &str) -> Option<&'static str> {
    COUNTRIES.lines().find_map(|line| {
        let (known, name) = line.split_once(' ')?;
        (known == code).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_one_line_in_order() {
        let codes: Vec<&str> = COUNTRIES
            .lines()
            .map(|line| line.split_once(' ').expect("code and name").0)
            .collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted_by(|left, right| left < right));
        assert!(codes.iter().all(|code| code.len() == 2));
    }

    #[test]
    fn names_are_found_by_code() {
        assert_eq!(country_name("DE"), Some("Germany"));
        assert_eq!(country_name("ZW"), Some("Zimbabwe"));
        assert_eq!(country_name("XX"), None);
        assert_eq!(country_name(""), None);
    }
}
