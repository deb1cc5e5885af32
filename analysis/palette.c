#include "config.h"

#include "analysis/palette.h"

#include <math.h>

static double to_linear(uint8_t v)
{
    double c = v / 255.0;

    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

static uint8_t from_linear(double c)
{
    double v = c <= 0.0031308 ? 12.92 * c : 1.055 * pow(c, 1 / 2.4) - 0.055;

    return (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : lround(v * 255));
}

/* Ottosson 2020, "A perceptual color space for image processing" (OKLab). */
static moe_color from_oklch(double lightness, double chroma, double hue)
{
    double a = chroma * cos(hue), b = chroma * sin(hue);
    double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    double m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    double s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);

    return (moe_color){
        from_linear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
        from_linear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
        from_linear(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

moe_color moe_palette(int i)
{
    static const moe_color distinct[MOE_PALETTE_DISTINCT] = {
        {0x56, 0xb4, 0xe9}, /* sky blue       */
        {0xe6, 0x9f, 0x00}, /* orange         */
        {0x00, 0x9e, 0x73}, /* bluish green   */
        {0xf0, 0xe4, 0x42}, /* yellow         */
        {0x00, 0x72, 0xb2}, /* blue           */
        {0xd5, 0x5e, 0x00}, /* vermilion      */
        {0xcc, 0x79, 0xa7}, /* reddish purple */
        {0xbd, 0xbd, 0xbd}, /* grey           */
    };
    static const double lightness[3] = {0.80, 0.55, 0.68};
    const double golden_angle = 2.399963229728653;
    int k = i - MOE_PALETTE_DISTINCT;

    return k < 0 ? distinct[i < 0 ? 0 : i]
                 : from_oklch(lightness[k % 3], 0.11, golden_angle * k);
}

static double luminance(moe_color c)
{
    return 0.2126 * to_linear(c.r) + 0.7152 * to_linear(c.g) +
           0.0722 * to_linear(c.b);
}

double moe_palette_contrast(moe_color a, moe_color b)
{
    double la = luminance(a) + 0.05, lb = luminance(b) + 0.05;

    return la > lb ? la / lb : lb / la;
}

moe_color moe_palette_text(moe_color ground)
{
    const moe_color black = {0, 0, 0}, white = {255, 255, 255};

    return moe_palette_contrast(ground, black) >=
                   moe_palette_contrast(ground, white)
               ? black
               : white;
}
