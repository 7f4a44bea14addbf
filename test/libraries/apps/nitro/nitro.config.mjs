export default { compatibilityDate: '2026-01-01', srcDir: '.', preset: process.env.PRESET, logLevel: 1 }
