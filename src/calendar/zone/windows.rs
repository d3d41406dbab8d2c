//! PURE: zones by name: IANA's, and the common ones of Windows (CLDR's `windowsZones`).

use chrono_tz::Tz;

/// Windows' name, and the zone that it means where no country is given.
const WINDOWS: [(&str, Tz); 80] = [
    ("UTC", Tz::UTC),
    ("AUS Central Standard Time", Tz::Australia__Darwin),
    ("AUS Eastern Standard Time", Tz::Australia__Sydney),
    ("Afghanistan Standard Time", Tz::Asia__Kabul),
    ("Alaskan Standard Time", Tz::America__Anchorage),
    ("Arab Standard Time", Tz::Asia__Riyadh),
    ("Arabian Standard Time", Tz::Asia__Dubai),
    ("Arabic Standard Time", Tz::Asia__Baghdad),
    ("Argentina Standard Time", Tz::America__Buenos_Aires),
    ("Atlantic Standard Time", Tz::America__Halifax),
    ("Azerbaijan Standard Time", Tz::Asia__Baku),
    ("Azores Standard Time", Tz::Atlantic__Azores),
    ("Bangladesh Standard Time", Tz::Asia__Dhaka),
    ("Belarus Standard Time", Tz::Europe__Minsk),
    ("Canada Central Standard Time", Tz::America__Regina),
    ("Cape Verde Standard Time", Tz::Atlantic__Cape_Verde),
    ("Caucasus Standard Time", Tz::Asia__Yerevan),
    ("Cen. Australia Standard Time", Tz::Australia__Adelaide),
    ("Central America Standard Time", Tz::America__Guatemala),
    ("Central Asia Standard Time", Tz::Asia__Almaty),
    ("Central Brazilian Standard Time", Tz::America__Cuiaba),
    ("Central Europe Standard Time", Tz::Europe__Budapest),
    ("Central European Standard Time", Tz::Europe__Warsaw),
    ("Central Pacific Standard Time", Tz::Pacific__Guadalcanal),
    ("Central Standard Time", Tz::America__Chicago),
    ("Central Standard Time (Mexico)", Tz::America__Mexico_City),
    ("China Standard Time", Tz::Asia__Shanghai),
    ("E. Africa Standard Time", Tz::Africa__Nairobi),
    ("E. Australia Standard Time", Tz::Australia__Brisbane),
    ("E. Europe Standard Time", Tz::Europe__Chisinau),
    ("E. South America Standard Time", Tz::America__Sao_Paulo),
    ("Eastern Standard Time", Tz::America__New_York),
    ("Egypt Standard Time", Tz::Africa__Cairo),
    ("Ekaterinburg Standard Time", Tz::Asia__Yekaterinburg),
    ("FLE Standard Time", Tz::Europe__Kiev),
    ("Fiji Standard Time", Tz::Pacific__Fiji),
    ("GMT Standard Time", Tz::Europe__London),
    ("GTB Standard Time", Tz::Europe__Bucharest),
    ("Georgian Standard Time", Tz::Asia__Tbilisi),
    ("Greenland Standard Time", Tz::America__Godthab),
    ("Greenwich Standard Time", Tz::Atlantic__Reykjavik),
    ("Hawaiian Standard Time", Tz::Pacific__Honolulu),
    ("India Standard Time", Tz::Asia__Calcutta),
    ("Iran Standard Time", Tz::Asia__Tehran),
    ("Israel Standard Time", Tz::Asia__Jerusalem),
    ("Jordan Standard Time", Tz::Asia__Amman),
    ("Korea Standard Time", Tz::Asia__Seoul),
    ("Libya Standard Time", Tz::Africa__Tripoli),
    ("Line Islands Standard Time", Tz::Pacific__Kiritimati),
    ("Mauritius Standard Time", Tz::Indian__Mauritius),
    ("Middle East Standard Time", Tz::Asia__Beirut),
    ("Montevideo Standard Time", Tz::America__Montevideo),
    ("Morocco Standard Time", Tz::Africa__Casablanca),
    ("Mountain Standard Time", Tz::America__Denver),
    ("Myanmar Standard Time", Tz::Asia__Rangoon),
    ("Namibia Standard Time", Tz::Africa__Windhoek),
    ("Nepal Standard Time", Tz::Asia__Katmandu),
    ("New Zealand Standard Time", Tz::Pacific__Auckland),
    ("Newfoundland Standard Time", Tz::America__St_Johns),
    ("North Asia Standard Time", Tz::Asia__Krasnoyarsk),
    ("Pacific SA Standard Time", Tz::America__Santiago),
    ("Pacific Standard Time", Tz::America__Los_Angeles),
    ("Pakistan Standard Time", Tz::Asia__Karachi),
    ("Romance Standard Time", Tz::Europe__Paris),
    ("Russian Standard Time", Tz::Europe__Moscow),
    ("SA Pacific Standard Time", Tz::America__Bogota),
    ("SE Asia Standard Time", Tz::Asia__Bangkok),
    ("Samoa Standard Time", Tz::Pacific__Apia),
    ("Singapore Standard Time", Tz::Asia__Singapore),
    ("South Africa Standard Time", Tz::Africa__Johannesburg),
    ("Sri Lanka Standard Time", Tz::Asia__Colombo),
    ("Taipei Standard Time", Tz::Asia__Taipei),
    ("Tokyo Standard Time", Tz::Asia__Tokyo),
    ("Tonga Standard Time", Tz::Pacific__Tongatapu),
    ("Turkey Standard Time", Tz::Europe__Istanbul),
    ("US Mountain Standard Time", Tz::America__Phoenix),
    ("Venezuela Standard Time", Tz::America__Caracas),
    ("W. Australia Standard Time", Tz::Australia__Perth),
    ("W. Central Africa Standard Time", Tz::Africa__Lagos),
    ("W. Europe Standard Time", Tz::Europe__Berlin),
];

/// The zone of a name.
pub fn find(name: &str) -> Option<Tz> {
    let windows = WINDOWS.iter().find(|(windows, _)| windows.eq_ignore_ascii_case(name));
    match windows {
        Some((_, zone)) => Some(*zone),
        None if name.eq_ignore_ascii_case("tzone://Microsoft/Utc") => Some(Tz::UTC),
        None => name.parse().ok(),
    }
}

/// How Exchange calls a zone: by Windows' name, if it has one.
pub fn exchange_name(zone: Tz) -> &'static str {
    let windows = WINDOWS.iter().find(|(_, windows)| *windows == zone);
    windows.map_or(zone.name(), |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_names_of_both_kinds() {
        assert_eq!(find("Pacific Standard Time"), Some(Tz::America__Los_Angeles));
        assert_eq!(find("romance standard time"), Some(Tz::Europe__Paris));
        assert_eq!(find("Europe/Paris"), Some(Tz::Europe__Paris));
        assert_eq!(find("utc"), Some(Tz::UTC));
        assert_eq!(find("Greenwich Mean Time"), None);
        assert_eq!(exchange_name(Tz::Europe__Paris), "Romance Standard Time");
        assert_eq!(exchange_name(Tz::Europe__Madrid), "Europe/Madrid");
    }
}
