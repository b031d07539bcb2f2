"use strict";
// Numbers as the command line writes them.
const Text = (() => {
  // Python's format "{value:.<digits>g}".
  function general(value, digits) {
    if (value === 0) return "0";
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    const [mantissa, power] = value.toExponential(digits - 1).split("e"), exponent = Number(power);
    const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
    if (exponent < -4 || exponent >= digits) {
      const size = String(Math.abs(exponent)).padStart(2, "0");
      return `${bare(mantissa)}e${exponent < 0 ? "-" : "+"}${size}`;
    }
    return bare(value.toFixed(Math.max(digits - 1 - exponent, 0)));
  }

  const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

  // theory.clock.rounding.rounded: at least four digits, never on the wrong side of the number.
  function rounded(value, side = "~") {
    if (!Number.isFinite(value)) return general(value, 4);
    if (value === 0) return "0";
    const [mantissa, power] = Math.abs(value).toExponential().split("e"), exponent = Number(power);
    const all = mantissa.replace(".", ""), plain = Math.abs(value) >= 1e-4 && Math.abs(value) < 2 ** 53;
    const kept = plain ? Math.max(4, exponent + 1) : 4;
    const short = cut(all, kept, side, value < 0);
    const shifted = exponent + (short.length > kept ? 1 : 0), digits = short.slice(0, kept);
    if (!plain) return general(Number(`${value < 0 ? "-" : ""}${digits[0]}.${digits.slice(1)}e${shifted}`), 4);
    const text = placed(digits, shifted);
    const [whole, part = ""] = text.split("."), rest = part.replace(/0+$/, "");
    return `${value < 0 ? "-" : ""}${grouped(whole)}${rest ? `.${rest}` : ""}`;
  }

  // The first digits, rounded to their side; one digit more where that carries.
  function cut(all, kept, side, negative) {
    const head = all.slice(0, kept).padEnd(kept, "0"), tail = all.slice(kept);
    const some = /[1-9]/.test(tail), half = tail[0] > "5" || (tail[0] === "5" && (/[1-9]/.test(tail.slice(1)) || head.at(-1) % 2 === 1));
    const up = side === "~" ? half : some && (side === "<=") !== negative;
    return up ? String(BigInt(head) + 1n).padStart(kept, "0") : head;
  }

  function placed(digits, exponent) {
    if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${digits}`;
    const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
    return `${whole}.${digits.slice(exponent + 1)}`;
  }

  // A step, or never.
  function step(time, side = "~") {
    if (time === null || !Number.isFinite(time)) return "never";
    return rounded({">=": Math.floor, "<=": Math.ceil, "~": Math.round}[side](time), side);
  }

  return {general, rounded, step, grouped};
})();
