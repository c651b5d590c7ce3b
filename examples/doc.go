// Package examples holds programs that use Outband as any other program would:
// each folder is one, and stands alone. README.md says what they print.
package examples
