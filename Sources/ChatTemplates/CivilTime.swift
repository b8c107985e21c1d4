import Foundation

/// A moment by calendar and clock, for `strftime_now`.
package struct CivilTime: Sendable {
  package let year: Int
  /// 1 to 12.
  package let month: Int
  /// 1 to 31.
  package let day: Int
  package let hour: Int
  package let minute: Int
  package let second: Int

  /// A moment of these parts.
  package init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
    (self.year, self.month, self.day) = (year, min(max(month, 1), 12), day)
    (self.hour, self.minute, self.second) = (hour, minute, second)
  }

  /// The moment of the call, where the machine is.
  package static var now: CivilTime {
    let parts = Calendar(identifier: .gregorian).dateComponents(
      [.year, .month, .day, .hour, .minute, .second], from: Date())
    return CivilTime(
      year: parts.year ?? 1970, month: parts.month ?? 1, day: parts.day ?? 1, hour: parts.hour ?? 0,
      minute: parts.minute ?? 0, second: parts.second ?? 0)
  }

  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]
  private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

  private var isLeapYear: Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  /// Days since New Year, from 1.
  private var dayOfYear: Int {
    let lengths = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return lengths.prefix(month - 1).reduce(day, +)
  }

  /// Days since Sunday.
  private var weekday: Int {
    let past = year - 1
    return (past * 365 + past / 4 - past / 100 + past / 400 + dayOfYear) % 7
  }

  /// The moment by `strftime`'s codes, with English names.
  func formatted(_ format: String) -> String {
    var result = ""
    var rest = format.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "%", var code = rest.popFirst() else {
        result.unicodeScalars.append(scalar)
        continue
      }
      var isPadded = true
      if code == "-", let next = rest.popFirst() {
        isPadded = false
        code = next
      }
      result += field(code, isPadded: isPadded) ?? "%" + (isPadded ? "" : "-") + String(code)
    }
    return result
  }

  private func field(_ code: Unicode.Scalar, isPadded: Bool) -> String? {
    func digits(_ value: Int, _ width: Int = 2, _ fill: String = "0") -> String {
      let text = String(value)
      return isPadded ? String(repeating: fill, count: max(0, width - text.utf8.count)) + text : text
    }
    let hour12 = hour % 12 == 0 ? 12 : hour % 12
    switch code {
    case "Y": return String(year)
    case "y": return digits(year % 100)
    case "C": return digits(year / 100)
    case "m": return digits(month)
    case "d": return digits(day)
    case "e": return digits(day, 2, " ")
    case "j": return digits(dayOfYear, 3)
    case "H": return digits(hour)
    case "k": return digits(hour, 2, " ")
    case "I": return digits(hour12)
    case "l": return digits(hour12, 2, " ")
    case "M": return digits(minute)
    case "S": return digits(second)
    case "f": return "000000"
    case "p": return hour < 12 ? "AM" : "PM"
    case "P": return hour < 12 ? "am" : "pm"
    case "B": return Self.months[month - 1]
    case "b", "h": return String(Self.months[month - 1].prefix(3))
    case "A": return Self.weekdays[weekday]
    case "a": return String(Self.weekdays[weekday].prefix(3))
    case "w": return String(weekday)
    case "u": return String(weekday == 0 ? 7 : weekday)
    case "U": return digits((dayOfYear + 6 - weekday) / 7)
    case "W": return digits((dayOfYear + 6 - (weekday + 6) % 7) / 7)
    case "F": return formatted("%Y-%m-%d")
    case "T", "X": return formatted("%H:%M:%S")
    case "R": return formatted("%H:%M")
    case "r": return formatted("%I:%M:%S %p")
    case "D", "x": return formatted("%m/%d/%y")
    case "c": return formatted("%a %b %e %H:%M:%S %Y")
    case "Z", "z": return ""
    case "n": return "\n"
    case "t": return "\t"
    case "%": return "%"
    default: return nil
    }
  }
}
